//! Where Syft lists something else than Bulla of an example's image, and why.

/// Why one of the two lists a package that the other does not: what is compared is type, name and version.
pub(super) struct Explained {
    /// The example; `*` for all.
    pub(super) example: &'static str,
    /// What the package's URL begins with.
    pub(super) purl: &'static str,
    /// Who lists it.
    pub(super) by: By,
    /// Why the other does not.
    pub(super) why: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Bulla,
    Syft,
}

pub(super) const EXPLAINED: &[Explained] = &[
    Explained {
        example: "hello",
        purl: "pkg:deb/debian/",
        by: By::Bulla,
        why: "packages of the image by the lock, of which it has no database",
    },
    Explained {
        example: "redis",
        purl: "pkg:generic/redis",
        by: By::Syft,
        why: "a guess by texts inside the program; here the step that compiled it owns it, and names its source",
    },
    Explained {
        example: "private-base",
        purl: "pkg:generic/busybox",
        by: By::Syft,
        why: "a guess by texts inside the program; the base, which is named by its digest, brings it without a package",
    },
    Explained {
        example: "go-service",
        purl: "pkg:golang/example.com/go-service@(devel)",
        by: By::Syft,
        why: "the main module: Syft takes the compiler's word for an unknown version as one",
    },
    Explained {
        example: "go-service",
        purl: "pkg:golang/example.com/go-service",
        by: By::Bulla,
        why: "the main module, which has no version",
    },
    Explained {
        example: "node-service",
        purl: "pkg:generic/node",
        by: By::Syft,
        why: "a guess by texts inside the program, beside the Debian package that holds it",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/node-service@",
        by: By::Syft,
        why: "the `package.json` of the service itself, which here the source that it was copied from owns",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/benchmark@1.0.0",
        by: By::Syft,
        why: "a `package.json` that a package has among its benchmarks: nothing of that name is installed",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/benchmarks@1.0.0",
        by: By::Syft,
        why: "a `package.json` that a package has among its benchmarks: nothing of that name is installed",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/transport@0.0.1",
        by: By::Syft,
        why: "a `package.json` that a package has among its fixtures: nothing of that name is installed",
    },
    of_debian("pkg:npm/acorn"),
    of_debian("pkg:npm/undici"),
    of_debian("pkg:npm/%40types/busboy@1.5.0"),
    of_debian("pkg:npm/%40types/node@18.18.14"),
    of_debian("pkg:npm/binary-search@"),
    of_debian("pkg:npm/busboy@"),
    of_debian("pkg:npm/cjs-module-lexer@"),
    of_debian("pkg:npm/streamsearch@"),
    of_debian("pkg:npm/xtend@"),
];

/// A library of Node that Debian's own `nodejs` stands on.
const fn of_debian(purl: &'static str) -> Explained {
    let why =
        "in `usr/share/nodejs`, where no project has its packages: here the Debian package that owns it is listed";
    Explained { example: "node-service", purl, by: By::Syft, why }
}
