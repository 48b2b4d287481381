//! Projects in a language that has a package manager: what they are built with and run by.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plain;

/// What such a project is.
struct Project {
    what: &'static str,
    /// The word of the preset.
    language: &'static str,
    /// The packages of the stage beside those of the preset.
    packages: &'static str,
    /// What the manager makes in the folder, which is no source.
    ignore: &'static str,
    /// Whether the lock file that the preset names is there.
    locked: bool,
    /// What stands in place of it where it is not.
    dependencies: &'static str,
    /// What to do first, where something is missing.
    remark: Option<&'static str>,
    steps: Vec<String>,
    outputs: Vec<(&'static str, String)>,
    copies: Vec<String>,
    entrypoint: Vec<String>,
}

/// Writes the spec of a project whose files say its language.
pub(super) fn starter(name: &str, release: &str, files: &BTreeMap<String, String>) -> Option<String> {
    let has = |file: &str| files.contains_key(file);
    let text = |file: &str| files.get(file).map_or("", String::as_str);
    let project = if has("go.mod") {
        go(name, text("go.mod"), has("go.sum"), files)
    } else if has("Cargo.toml") {
        rust(name, text("Cargo.toml"), has("Cargo.lock"))
    } else if has("package.json") {
        let package = serde_json::from_str(text("package.json")).unwrap_or(Value::Null);
        let manager = Manager::of(has);
        if let Some(site) = front_end(name, release, &package, &manager) {
            return Some(site);
        }
        node(&package, &manager)
    } else if has("poetry.lock") && !text("requirements.txt").contains("--hash=") {
        poetry(name, files)
    } else if has("pom.xml") {
        return Some(super::maven::starter(name, release, text("pom.xml")));
    } else if has("requirements.txt") && files.keys().any(|file| file.ends_with(".py") || file == "pyproject.toml") {
        python(name, text("requirements.txt"), files)
    } else {
        return None;
    };
    Some(render(name, release, &project))
}

fn go(name: &str, manifest: &str, locked: bool, files: &BTreeMap<String, String>) -> Project {
    let module = manifest.lines().find_map(|line| line.strip_prefix("module "));
    let last = module.and_then(|module| {
        let mut parts = module.trim().rsplit('/');
        let last = parts.next()?;
        let is_major = last.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if is_major { parts.next() } else { Some(last) }
    });
    let program = last.filter(|word| plain(word)).unwrap_or(name).to_owned();
    let here = files.keys().any(|file| file.ends_with(".go") && !file.contains('/'));
    let package = if here { ".".to_owned() } else { format!("./cmd/{program}") };
    Project {
        what: "a module of Go",
        language: "go",
        packages: "",
        ignore: "",
        locked,
        dependencies: NONE,
        remark: None,
        steps: vec![format!("go build -o /out/{program} {package}")],
        outputs: vec![("program", format!("/out/{program}"))],
        copies: vec![format!("{{output: build.program, to: /usr/bin/{program}}}")],
        entrypoint: vec![format!("/usr/bin/{program}")],
    }
}

fn rust(name: &str, manifest: &str, locked: bool) -> Project {
    let in_section = |section: &str| {
        let lines = manifest.lines().map(str::trim).skip_while(move |line| *line != section).skip(1);
        let mut lines = lines.take_while(|line| !line.starts_with('['));
        let value = lines.find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='))?;
        let word = value.trim().split(['"', '\'']).nth(1)?;
        plain(word).then(|| word.to_owned())
    };
    let program = in_section("[[bin]]").or_else(|| in_section("[package]")).unwrap_or_else(|| name.to_owned());
    Project {
        what: "a crate of Rust",
        language: "rust",
        packages: "",
        ignore: "target",
        locked,
        dependencies: NONE,
        remark: (!locked).then_some("run `cargo generate-lockfile`, commit Cargo.lock, and delete `dependencies: []`"),
        steps: vec!["cargo build --release --locked".to_owned()],
        outputs: vec![("program", format!("/src/app/target/release/{program}"))],
        copies: vec![format!("{{output: build.program, to: /usr/bin/{program}}}")],
        entrypoint: vec![format!("/usr/bin/{program}")],
    }
}

const NONE: &str = "[]";

/// What installs the packages of a project on Node.js.
struct Manager {
    name: &'static str,
    /// Whether the lock file that the preset names is there.
    locked: bool,
    dependencies: &'static str,
    remark: Option<&'static str>,
    install: &'static str,
    /// What a script of the project is run by.
    run: &'static str,
    /// What takes away that is needed for building alone.
    prune: &'static str,
}

impl Manager {
    /// Says which one a project has, by its lock file.
    fn of(has: impl Fn(&str) -> bool) -> Self {
        let npm = has("package-lock.json") || has("npm-shrinkwrap.json");
        if !npm && has("pnpm-lock.yaml") {
            return Self {
                name: "pnpm",
                locked: false,
                dependencies: "[{npm: pnpm-lock.yaml}, {npm: tools/package-lock.json}]",
                remark: Some("first `npm install --prefix tools pnpm@10`, and commit tools/package-lock.json"),
                install: "npm ci --prefix tools && tools/node_modules/.bin/pnpm install --frozen-lockfile",
                run: "tools/node_modules/.bin/pnpm run",
                prune: "CI=true tools/node_modules/.bin/pnpm prune --prod",
            };
        }
        if !npm && has("yarn.lock") {
            return Self {
                name: "yarn",
                locked: false,
                dependencies: "[{npm: yarn.lock}, {npm: tools/package-lock.json}]",
                remark: Some(
                    "first `npm install --prefix tools yarn@1` (or @yarnpkg/cli-dist@4, and `--immutable` below), and commit tools/package-lock.json",
                ),
                install: "npm ci --prefix tools && tools/node_modules/.bin/yarn install --frozen-lockfile",
                run: "tools/node_modules/.bin/yarn run",
                prune: "tools/node_modules/.bin/yarn install --production --frozen-lockfile",
            };
        }
        Self {
            name: "npm",
            locked: has("package-lock.json"),
            dependencies: NONE,
            remark: Some("run `npm install`, commit package-lock.json, and delete `dependencies: []`"),
            install: "npm ci",
            run: "npm run",
            prune: "npm prune --omit=dev",
        }
    }
}

fn script<'p>(package: &'p Value, name: &str) -> Option<&'p str> {
    package["scripts"][name].as_str()
}

fn node(package: &Value, manager: &Manager) -> Project {
    let safe = |path: &&str| {
        !path.is_empty()
            && !path.starts_with(['/', '-'])
            && !path.contains("..")
            && path.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
    };
    let started = script(package, "start").and_then(|start| start.strip_prefix("node ")).map(str::trim).filter(safe);
    let main = started.or_else(|| package["main"].as_str().filter(safe)).unwrap_or("index.js");
    let main = main.trim_start_matches("./");
    let Manager { locked, dependencies, remark, install, run, prune, .. } = *manager;
    let mut steps = vec![install.to_owned()];
    let build = script(package, "build").map(|_| format!("{run} build"));
    match build {
        // A client of the project's own stands in one more line above.
        Some(build) if dependencies != NONE => steps.push(format!("{build} && {prune}")),
        build => steps.extend(build.into_iter().chain([prune.to_owned()])),
    }
    let mut outputs = vec![("modules", "/src/app/node_modules".to_owned())];
    let mut copies = Vec::new();
    match main.split_once('/').filter(|(folder, _)| script(package, "build").is_some() && *folder != "src") {
        Some((folder, _)) => {
            outputs.push(("made", format!("/src/app/{folder}")));
            copies.push("{source: app/package.json, to: /app/package.json}".to_owned());
            copies.push(format!("{{output: build.made, to: /app/{folder}}}"));
        }
        None => copies.push("{source: app, to: /app}".to_owned()),
    }
    copies.push("{output: build.modules, to: /app/node_modules, layer: dependencies}".to_owned());
    Project {
        what: "a service on Node.js",
        language: "node",
        packages: "",
        ignore: "node_modules",
        locked,
        dependencies,
        remark: remark.filter(|_| !locked),
        steps,
        outputs,
        copies,
        entrypoint: vec!["/usr/bin/node".to_owned(), format!("/app/{main}")],
    }
}

/// A front end: what a bundler makes is served as files.
fn front_end(name: &str, release: &str, package: &Value, manager: &Manager) -> Option<String> {
    let build = script(package, "build")?;
    if script(package, "start").is_some()
        || !["vite build", "astro build", "parcel build"].iter().any(|word| build.contains(word))
    {
        return None;
    }
    let Manager { name: npm, locked, dependencies, remark, install, run, .. } = *manager;
    let remark = match locked {
        true => String::new(),
        false => format!("\n    dependencies: {dependencies}  # {}", remark.unwrap_or_default()),
    };
    Some(format!(
        "\
bulla: 1  # found: a front end that {npm} builds
name: {name}
sources: {{app: {{path: ., ignore: [node_modules, dist, bulla.*, .git]}}}}
stages:
  build:
    from: {{language: node, debian: {release}}}{remark}
    steps:
      - {install}
      - {run} build
    outputs: {{dist: /src/app/dist}}
image:
  from: {{debian: {release}, packages: [nginx-light]}}
  copy: [{{output: build.dist, to: /var/www/html}}]
  entrypoint: [nginx, -g, daemon off;]
  user: www-data
"
    ))
}

fn python(name: &str, requirements: &str, files: &BTreeMap<String, String>) -> Project {
    let main = ["main.py", "app.py", "server.py", "__main__.py"].into_iter().find(|file| files.contains_key(*file));
    let module = name.replace('-', "_");
    let mut entrypoint = vec!["/opt/venv/bin/python".to_owned()];
    match main {
        Some(file) => entrypoint.push(format!("/app/{file}")),
        None => entrypoint.extend(["-m".to_owned(), module]),
    }
    let hashed = requirements.contains("--hash=");
    Project {
        what: "a service in Python",
        language: "python",
        packages: "",
        ignore: ".venv",
        locked: true,
        dependencies: NONE,
        remark: (!hashed).then_some(
            "first pin it with hashes: `pip-compile --generate-hashes` or `uv pip compile --generate-hashes`",
        ),
        steps: vec![
            "python3 -m venv /opt/venv".to_owned(),
            "pip install --require-hashes -r requirements.txt".to_owned(),
        ],
        outputs: vec![("venv", "/opt/venv".to_owned())],
        copies: vec![
            "{output: build.venv, to: /opt/venv, layer: dependencies}".to_owned(),
            "{source: app, to: /app}".to_owned(),
        ],
        entrypoint,
    }
}

/// A project that Poetry installs, as the distribution has it.
fn poetry(name: &str, files: &BTreeMap<String, String>) -> Project {
    let steps = ["python3 -m venv /opt/venv", "poetry install --no-root --only main"];
    Project {
        packages: ", packages: [python3-poetry]",
        locked: false,
        dependencies: "[{pypi: poetry.lock}]",
        remark: None,
        steps: steps.map(str::to_owned).to_vec(),
        ..python(name, "", files)
    }
}

fn render(name: &str, release: &str, project: &Project) -> String {
    let Project { what, language, packages, ignore, locked, dependencies, remark, steps, outputs, copies, entrypoint } =
        project;
    let ignore: Vec<&str> = [*ignore, "bulla.*", ".git"].into_iter().filter(|word| !word.is_empty()).collect();
    let steps: String = steps.iter().map(|step| format!("      - {step}\n")).collect();
    let outputs: Vec<String> = outputs.iter().map(|(name, path)| format!("{name}: {path}")).collect();
    let remark = remark.map(|remark| format!("  # {remark}")).unwrap_or_default();
    let (of_from, none) = match locked {
        true => (remark, String::new()),
        false => (String::new(), format!("    dependencies: {dependencies}{remark}\n")),
    };
    format!(
        "\
bulla: 1  # found: {what}
name: {name}
sources: {{app: {{path: ., ignore: [{ignore}]}}}}
stages:
  build:
    from: {{language: {language}, debian: {release}{packages}}}{of_from}
{none}    steps:
{steps}    outputs: {{{outputs}}}
image:
  from: {{language: {language}, debian: {release}}}
  copy: [{copies}]
  entrypoint: [{entrypoint}]
  user: 65532
",
        ignore = ignore.join(", "),
        outputs = outputs.join(", "),
        copies = copies.join(", "),
        entrypoint = entrypoint.join(", "),
    )
}
