//! What `from: {language: …}` stands for: the packages, variables and lock files that projects in a language have as a rule.

use super::written::LanguageWord as Language;

/// The release of Debian where nothing names one: that of the image, else this.
pub(super) const RELEASE: &str = "trixie";

/// Where Python's environment is.
const VENV: &str = "/opt/venv";
/// Where programs are, beside those of the preset.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Language {
    /// Gives the packages of Debian that a stage compiles with. A version is the beginning of one of upstream's.
    pub(super) fn tools(self, version: Option<&str>) -> Vec<String> {
        match self {
            Self::Node => vec![pinned("nodejs", version, "V.*"), "npm".to_owned()],
            Self::Python => vec![pinned("python3", version, "V.*"), "python3-venv".to_owned()],
            Self::Rust => vec!["cargo".to_owned(), pinned("rustc", version, "V.*")],
            Self::Go => vec![pinned("golang-go", version, "2:V~*")],
            Self::Java => {
                let jdk =
                    version.map_or_else(|| "default-jdk-headless".to_owned(), |v| format!("openjdk-{v}-jdk-headless"));
                vec![jdk, "maven".to_owned()]
            }
            Self::C => {
                let compilers = ["gcc", "g++"].map(|compiler| pinned(compiler, version, "4:V.*"));
                compilers.into_iter().chain(["libc6-dev", "make"].map(str::to_owned)).collect()
            }
        }
    }

    /// Gives the packages of Debian that a program runs with.
    pub(super) fn runtime(self, version: Option<&str>) -> Vec<String> {
        let authorities = || "ca-certificates".to_owned();
        match self {
            Self::Node => vec![pinned("nodejs", version, "V.*"), authorities()],
            Self::Python => vec![pinned("python3", version, "V.*"), authorities()],
            Self::Rust | Self::Go => vec!["libc6".to_owned(), authorities()],
            Self::Java => {
                vec![version.map_or_else(|| "default-jre-headless".to_owned(), |v| format!("openjdk-{v}-jre-headless"))]
            }
            Self::C => vec!["libc6".to_owned(), "libstdc++6".to_owned()],
        }
    }

    /// Gives the packages that the tools of an archive need to run.
    pub(super) const fn beneath(self) -> &'static [&'static str] {
        match self {
            Self::Node => &["libatomic1", "libstdc++6"],
            Self::Python | Self::Rust | Self::Go | Self::Java | Self::C => &[],
        }
    }

    /// Gives the variables of a stage, which has its tools from a folder where `toolchain` is one.
    pub(super) fn env(self, toolchain: Option<&str>) -> Vec<(&'static str, String)> {
        let mut env = Vec::new();
        let mut folders = Vec::new();
        match self {
            Self::Python => {
                env.push(("VIRTUAL_ENV", VENV.to_owned()));
                folders.push(format!("{VENV}/bin"));
            }
            // A program without C needs no library of the system, and has no path of the stage in it.
            Self::Go => {
                env.extend([("CGO_ENABLED", "0".to_owned()), ("GOFLAGS", "-trimpath -buildvcs=false".to_owned())])
            }
            Self::Java => env.extend(toolchain.map(|folder| ("JAVA_HOME", folder.to_owned()))),
            Self::Node | Self::Rust | Self::C => {}
        }
        folders.extend(toolchain.map(|folder| format!("{folder}/bin")));
        if !folders.is_empty() {
            folders.push(PATH.to_owned());
            env.push(("PATH", folders.join(":")));
        }
        env
    }

    /// Gives the lock file that a project has as a rule, with its kind.
    pub(super) const fn lock_file(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Node => Some(("npm", "package-lock.json")),
            Self::Python => Some(("pypi", "requirements.txt")),
            Self::Rust => Some(("cargo", "Cargo.lock")),
            Self::Go => Some(("go", "go.sum")),
            Self::Java => Some(("maven", "pom.xml")),
            Self::C => None,
        }
    }

    /// Gives the files that a command reads which installs dependencies, so that it runs again only when these change; `None` for every
    /// other command.
    pub(super) fn sees(self, command: &str) -> Option<&'static [&'static str]> {
        let plain = |c: char| c.is_ascii_alphanumeric() || " -_./=@:".contains(c);
        if !command.chars().all(plain) {
            return None;
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        // What names the project itself, or a folder, needs its files.
        let of_the_lock = |rest: &[&str]| rest.iter().all(|word| !matches!(*word, "." | "-e" | "--editable"));
        match (self, words.as_slice()) {
            (Self::Node, ["npm", "ci", rest @ ..]) if rest.iter().all(|word| word.starts_with('-')) => {
                Some(&["**/package.json", "package-lock.json", "npm-shrinkwrap.json", "**/.npmrc"])
            }
            (Self::Node, ["pnpm", "install", rest @ ..]) if rest.iter().all(|word| word.starts_with('-')) => Some(&[
                "**/package.json",
                "pnpm-lock.yaml",
                "pnpm-workspace.yaml",
                ".pnpmfile.cjs",
                "**/.npmrc",
                "patches/**",
            ]),
            (Self::Node, ["yarn" | "yarnpkg", "install", rest @ ..])
                if rest.iter().all(|word| word.starts_with('-')) =>
            {
                Some(&["**/package.json", "yarn.lock", ".yarnrc", ".yarnrc.yml", ".yarn/**", "**/.npmrc", "patches/**"])
            }
            (Self::Python, ["python3", "-m", "venv", VENV]) => Some(&[]),
            (Self::Python, ["pip", "install", rest @ ..] | ["uv", "pip", "sync", rest @ ..]) if of_the_lock(rest) => {
                Some(&["**/*requirements*.txt", "requirements/**", "pylock*.toml"])
            }
            // Without `--no-root` the project itself is installed.
            (Self::Python, ["poetry", "install" | "sync", rest @ ..])
                if rest.contains(&"--no-root")
                    && !rest
                        .iter()
                        .any(|word| ["-C", "-P", "--dir", "--proj"].iter().any(|other| word.starts_with(other))) =>
            {
                Some(&["pyproject.toml", "poetry.lock", "poetry.toml"])
            }
            (Self::Go, ["go", "mod", "download", ..]) => Some(&["**/go.mod", "**/go.sum", "go.work", "go.work.sum"]),
            _ => None,
        }
    }
}

/// Asks for a package, at a version where one is given: `V` in the pattern stands for it, and what follows it is no digit.
fn pinned(package: &str, version: Option<&str>, pattern: &str) -> String {
    version.map_or_else(|| package.to_owned(), |version| format!("{package}={}", pattern.replace('V', version)))
}
