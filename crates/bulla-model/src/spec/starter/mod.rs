//! The spec that `bulla init` writes for a folder: short, with comments, and one that reads.

mod language;
mod maven;

use std::collections::BTreeMap;

use super::{Name, Spec};

/// Files whose content says more than their name; `bulla init` reads these, when they are small.
pub const TELLING_FILES: [&str; 9] = [
    "Makefile",
    "GNUmakefile",
    "makefile",
    "CMakeLists.txt",
    "package.json",
    "Cargo.toml",
    "go.mod",
    "requirements.txt",
    "pom.xml",
];

/// What is built, and how.
struct Recipe {
    /// What was recognised.
    what: String,
    /// The packages that it is built with.
    tools: Vec<&'static str>,
    /// The commands, each with a comment or none.
    steps: Vec<String>,
    /// What comes out, and where it goes in the image.
    output: (String, String),
    /// The packages that it runs with.
    libraries: Vec<&'static str>,
    /// The program.
    program: String,
}

impl Spec {
    /// Writes a spec to begin with, of about fifteen lines.
    ///
    /// `folder` is the name of the project's folder, `release` the codename of a release of Debian, and `files` has the
    /// files directly in the folder (and `DIR/index.html` for folders that have one), with the text of those that are
    /// [`TELLING_FILES`] and an empty text for others.
    pub fn starter(folder: &str, release: &str, files: &BTreeMap<String, String>) -> String {
        let name = Name::near(folder).map_or_else(|| "app".to_owned(), |name| name.to_string());
        if let Some(text) = language::starter(&name, release, files) {
            return text;
        }
        if let Some(recipe) = recipe(&name, files) {
            return render(&name, release, &recipe);
        }
        match ["", "public/", "site/", "dist/", "www/", "html/"]
            .into_iter()
            .find(|d| files.contains_key(&format!("{d}index.html")))
        {
            Some(directory) => site(&name, release, directory.trim_end_matches('/')),
            None => render(&name, release, &unknown(&name)),
        }
    }
}

fn recipe(name: &str, files: &BTreeMap<String, String>) -> Option<Recipe> {
    let has = |file: &str| files.contains_key(file);
    let text = |file: &str| files.get(file).map_or("", String::as_str);
    let makefile = TELLING_FILES.into_iter().take(3).find(|file| has(file));
    if has("configure") || has("configure.ac") {
        let mut recipe = installed("a project with a `configure` script", name, &["gcc", "libc6-dev", "make"]);
        if !has("configure") {
            recipe.tools.extend(["autoconf", "automake", "libtool", "pkgconf"]);
            recipe.steps.push("autoreconf -fi".to_owned());
        }
        recipe.steps.extend(
            ["./configure --prefix=/usr", "make -j\"$(nproc)\" && make install DESTDIR=/out"].map(str::to_owned),
        );
        return Some(recipe);
    }
    if has("CMakeLists.txt") {
        let project = cmake_project(text("CMakeLists.txt")).unwrap_or_else(|| name.to_owned());
        let mut recipe = installed("a project that CMake builds", &project, &["cmake", "g++", "libc6-dev", "make"]);
        let steps = [
            "cmake -B /build -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr",
            "cmake --build /build --parallel && DESTDIR=/out cmake --install /build",
        ];
        recipe.steps.extend(steps.map(str::to_owned));
        recipe.libraries.push("libstdc++6");
        return Some(recipe);
    }
    if let Some(makefile) = makefile {
        return Some(made(name, text(makefile)));
    }
    compiled(name, files)
}

/// A project whose `make install` puts everything beneath `/out`.
fn installed(what: &str, program: &str, tools: &[&'static str]) -> Recipe {
    Recipe {
        what: what.to_owned(),
        tools: tools.to_vec(),
        steps: Vec::new(),
        output: ("/out".to_owned(), "/".to_owned()),
        libraries: vec!["libc6"],
        program: format!("/usr/bin/{program}"),
    }
}

fn made(name: &str, makefile: &str) -> Recipe {
    let tools = ["gcc", "libc6-dev", "make"];
    let program = first_goal(makefile).unwrap_or_else(|| name.to_owned());
    if makefile.lines().any(|line| line.starts_with("install:")) {
        let mut recipe = installed("a project with a Makefile", &program, &tools);
        let steps = ["make -j\"$(nproc)\"", "make install DESTDIR=/out PREFIX=/usr prefix=/usr"];
        recipe.steps.extend(steps.map(str::to_owned));
        return recipe;
    }
    Recipe {
        what: "a project with a Makefile".to_owned(),
        tools: tools.to_vec(),
        steps: vec!["make -j\"$(nproc)\"".to_owned()],
        output: (format!("/src/app/{program}"), format!("/usr/bin/{program}")),
        libraries: vec!["libc6"],
        program: format!("/usr/bin/{program}"),
    }
}

/// Gives what `make` makes first, where that is one plain file.
fn first_goal(makefile: &str) -> Option<String> {
    let rules = makefile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
    let mut rules = rules.filter_map(|line| line.split_once(':')).filter(|(_, rest)| !rest.starts_with(['=', ':']));
    let (goal, needs) = rules.next()?;
    let goal = if goal.trim() == "all" { needs.split_whitespace().next()? } else { goal.trim() };
    plain(goal).then(|| goal.to_owned())
}

/// Gives the name in `project(NAME …)`.
fn cmake_project(text: &str) -> Option<String> {
    let (_, tail) = text.split_once("project(").or_else(|| text.split_once("PROJECT("))?;
    let name = tail.split([' ', ')', '\n', '\t']).find(|word| !word.is_empty())?;
    plain(name).then(|| name.to_owned())
}

/// A few C or C++ files without anything that says how to build them.
fn compiled(name: &str, files: &BTreeMap<String, String>) -> Option<Recipe> {
    let of = |ends: &[&str]| -> Vec<&String> {
        files.keys().filter(|file| ends.iter().any(|end| file.ends_with(end)) && !file.contains('/')).collect()
    };
    let (c, cpp) = (of(&[".c"]), of(&[".cc", ".cpp", ".cxx"]));
    let (sources, compiler, tool, library) = match (c.as_slice(), cpp.as_slice()) {
        ([], []) => return None,
        (_, []) => (&c, "cc", "gcc", None),
        (_, _) => (&cpp, "c++", "g++", Some("libstdc++6")),
    };
    let stem = |file: &str| file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned();
    let (program, input) = match sources.as_slice() {
        [only] if plain(only) && !only.starts_with("main.") => (stem(only), (*only).clone()),
        [only] if plain(only) => (name.to_owned(), (*only).clone()),
        [first, ..] => {
            let end = first.rsplit_once('.').map_or("c", |(_, end)| end);
            (name.to_owned(), format!("./*.{end}"))
        }
        [] => return None,
    };
    Some(Recipe {
        what: format!("{} and nothing that says how to build it", if c.is_empty() { "C++" } else { "C" }),
        tools: vec![tool, "libc6-dev"],
        steps: vec![format!("{compiler} -O2 -o {program} {input}")],
        output: (format!("/src/app/{program}"), format!("/usr/bin/{program}")),
        libraries: ["libc6"].into_iter().chain(library).collect(),
        program: format!("/usr/bin/{program}"),
    })
}

fn unknown(name: &str) -> Recipe {
    Recipe {
        what: "nothing that Bulla knows; the comments say what to change".to_owned(),
        tools: Vec::new(),
        steps: vec![format!("mkdir /out && cp -r . /out/{name}  # put the commands that build it here, one a line")],
        output: (format!("/out/{name}"), format!("/opt/{name}")),
        libraries: vec!["libc6"],
        program: format!("/opt/{name}/run"),
    }
}

/// Says whether a word can stand in a command, a path and a list of YAML as it is.
fn plain(word: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    word.chars().all(good) && word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.len() <= 60
}

fn render(name: &str, release: &str, recipe: &Recipe) -> String {
    let Recipe { what, tools, steps, output: (from, to), libraries, program } = recipe;
    let steps: String = steps.iter().map(|step| format!("      - {step}\n")).collect();
    format!(
        "\
bulla: 1  # found: {what}
name: {name}
sources: {{app: {{path: .}}}}  # is at /src/app, where the steps run
stages:
  build:
    from: {{debian: {release}, packages: [{tools}]}}
    steps:
{steps}    outputs: {{result: {from}}}
image:
  from: {{debian: {release}, packages: [{libraries}]}}  # what it needs to run
  copy: [{{output: build.result, to: {to}}}]
  entrypoint: [{program}]
  user: 65532
",
        tools = tools.join(", "),
        libraries = libraries.join(", "),
    )
}

fn site(name: &str, release: &str, directory: &str) -> String {
    let directory = if directory.is_empty() { "." } else { directory };
    format!(
        "\
bulla: 1  # found: a static site
name: {name}
sources:
  site: {{path: {directory}, ignore: [bulla.*, .git]}}  # what is served
image:
  from: {{debian: {release}, packages: [nginx-light]}}
  copy:
    - {{source: site, to: /var/www/html, mode: 0644}}
  entrypoint: [nginx, -g, daemon off;]
  user: www-data
  ports: [80]
  stop-signal: SIGQUIT  # nginx finishes what it is doing
"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn starter(files: &[(&str, &str)]) -> (String, Spec) {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let text = Spec::starter("My Shop", "trixie", &files);
        let spec = Spec::parse("bulla.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(text.lines().count() <= 16, "{text}");
        assert_eq!(spec.name.as_str(), "my-shop");
        (text, spec)
    }

    fn steps(spec: &Spec) -> Vec<String> {
        spec.stages["build"].steps.iter().map(|step| step.run.to_string()).collect()
    }

    #[test]
    fn one_c_file_is_compiled() {
        let (text, spec) = starter(&[("hello.c", "")]);
        assert_eq!(steps(&spec), ["cc -O2 -o hello hello.c"]);
        assert_eq!(spec.image.entrypoint, ["/usr/bin/hello"]);
        assert!(text.lines().count() < 15, "{text}");
        assert_eq!(steps(&starter(&[("main.c", "")]).1), ["cc -O2 -o my-shop main.c"]);
        assert_eq!(steps(&starter(&[("a.cc", ""), ("b.cc", "")]).1), ["c++ -O2 -o my-shop ./*.cc"]);
    }

    #[test]
    fn build_systems_are_recognised() {
        let (_, spec) = starter(&[("configure", ""), ("Makefile", "")]);
        assert_eq!(steps(&spec)[0], "./configure --prefix=/usr");
        let (_, spec) = starter(&[("configure.ac", "")]);
        assert_eq!(steps(&spec)[0], "autoreconf -fi");
        let (_, spec) = starter(&[("CMakeLists.txt", "cmake_minimum_required(VERSION 3)\nproject(shopd C)\n")]);
        assert_eq!(spec.image.entrypoint, ["/usr/bin/shopd"]);
        let (_, spec) = starter(&[("Makefile", "CC := gcc\nall: shopd\nshopd: a.o\ninstall: all\n")]);
        assert_eq!(steps(&spec)[1], "make install DESTDIR=/out PREFIX=/usr prefix=/usr");
        assert_eq!(spec.image.entrypoint, ["/usr/bin/shopd"]);
        let (_, spec) = starter(&[("Makefile", "tool: a.c\n\tcc -o tool a.c\n")]);
        assert_eq!(spec.image.copy[0].to.to_string(), "/usr/bin/tool");
    }

    #[test]
    fn languages_with_package_managers_are_recognised() {
        let (text, spec) =
            starter(&[("go.mod", "module example.org/team/shopd/v2\n\ngo 1.24\n"), ("go.sum", ""), ("main.go", "")]);
        assert_eq!(steps(&spec), ["go build -o /out/shopd ."]);
        assert!(text.lines().count() < 15 && spec.stages["build"].dependencies.len() == 1, "{text}");
        let (_, spec) = starter(&[("go.mod", "module shopd\n"), ("Makefile", "all: x\n")]);
        assert_eq!(steps(&spec), ["go build -o /out/shopd ./cmd/shopd"]);
        assert!(spec.stages["build"].dependencies.is_empty());
        let manifest = "[package]\nname = \"shop-tool\"\nversion = \"1.0.0\"\n\n[dependencies]\nname = \"no\"\n";
        let (text, spec) = starter(&[("Cargo.toml", manifest), ("Cargo.lock", "")]);
        assert_eq!(spec.image.entrypoint, ["/usr/bin/shop-tool"]);
        assert!(text.lines().count() < 15, "{text}");
        let package = r#"{"scripts": {"build": "tsc", "start": "node dist/main.js"}}"#;
        let (text, spec) = starter(&[("package.json", package), ("package-lock.json", "")]);
        assert_eq!(steps(&spec), ["npm ci", "npm run build", "npm prune --omit=dev"]);
        assert_eq!(spec.image.entrypoint, ["/usr/bin/node", "/app/dist/main.js"]);
        assert!(text.lines().count() <= 16, "{text}");
        let (text, spec) = starter(&[("package.json", package), ("pnpm-lock.yaml", "")]);
        assert!(
            text.contains("{npm: pnpm-lock.yaml}") && text.contains("npm install --prefix tools pnpm@10"),
            "{text}"
        );
        assert_eq!(
            steps(&spec),
            [
                "npm ci --prefix tools && tools/node_modules/.bin/pnpm install --frozen-lockfile",
                "tools/node_modules/.bin/pnpm run build && CI=true tools/node_modules/.bin/pnpm prune --prod",
            ]
        );
        let (text, spec) = starter(&[("package.json", package), ("yarn.lock", "")]);
        assert!(text.contains("{npm: yarn.lock}") && spec.stages["build"].dependencies.len() == 1, "{text}");
        let (text, spec) = starter(&[("package.json", "{\"main\": \"../../etc/passwd\"}")]);
        assert_eq!(spec.image.entrypoint[1], "/app/index.js");
        assert!(text.contains("npm install"), "{text}");
        let (_, spec) =
            starter(&[("package.json", r#"{"scripts": {"build": "vite build"}}"#), ("package-lock.json", "")]);
        assert_eq!(spec.image.entrypoint[0], "nginx");
        let (text, spec) = starter(&[("requirements.txt", "flask==3.0 --hash=sha256:00"), ("app.py", "")]);
        assert_eq!(spec.image.entrypoint, ["/opt/venv/bin/python", "/app/app.py"]);
        assert!(text.lines().count() <= 15 && !text.contains("pip-compile"), "{text}");
        assert!(starter(&[("requirements.txt", "flask"), ("app.py", "")]).0.contains("pip-compile"));
        let poetry = [("poetry.lock", ""), ("pyproject.toml", ""), ("app.py", "")];
        let (text, spec) = starter(&poetry);
        assert_eq!(steps(&spec), ["python3 -m venv /opt/venv", "poetry install --no-root --only main"]);
        assert!(text.contains("{pypi: poetry.lock}") && text.contains("packages: [python3-poetry]"), "{text}");
        assert_eq!(spec.image.entrypoint, ["/opt/venv/bin/python", "/app/app.py"]);
        // What is pinned already, and named by more clients, comes first.
        let (text, _) = starter(&[&poetry[..], &[("requirements.txt", "flask==3.0 --hash=sha256:00")]].concat());
        assert!(text.contains("pip install") && !text.contains("poetry"), "{text}");
    }

    #[test]
    fn a_site_is_served_and_the_rest_is_left_to_the_user() {
        let (_, spec) = starter(&[("public/index.html", "")]);
        assert_eq!(
            spec.sources["site"].folder().and_then(|folder| folder.path.as_ref()).map(ToString::to_string).as_deref(),
            Some("public")
        );
        assert_eq!(spec.image.entrypoint[2], "daemon off;");
        let (text, _) = starter(&[("README.md", "")]);
        assert!(text.contains("commands that build it"), "{text}");
    }

    proptest! {
        #[test]
        fn whatever_is_in_the_folder_the_starter_reads(
            folder in "(?s).{0,20}",
            names in prop::collection::btree_map("(?s).{0,10}(\\.c|\\.cpp)?|Makefile|CMakeLists.txt|go.mod|Cargo.toml|package.json|requirements.txt|poetry.lock|pom.xml|app.py", "(?s)((all|project\\(|install)?:? ?.{0,10}\n?){0,5}", 0..5),
        ) {
            let text = Spec::starter(&folder, "trixie", &names);
            prop_assert!(Spec::parse("bulla.yaml", &text).is_ok(), "{}", text);
        }
    }
}
