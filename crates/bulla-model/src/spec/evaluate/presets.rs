//! Puts in what presets stand for (`from: {language: …}`), before anything is evaluated: in the keys, and, for those who want to see it, in
//! the text. What is written wins.

use std::{collections::BTreeMap, ops::Range};

use super::{Context, File, stage::source_root};
use crate::{
    ecosystem::Ecosystem,
    path::CleanPath,
    spec::{
        Name, PackageRequest, Spec, SpecErrors, preset,
        written::{
            Codename, Component, DependencyKeys, EnvName, LanguageVersion, LanguageWord, LockFile, RunText, Scalar,
            SpecKeys, StageFrom, StageKeys, StepKeys, StepText, Suite, Value,
        },
    },
    yaml::{At, Document, Problem},
};

/// A change of the text.
#[derive(Debug)]
pub(super) struct Edit {
    span: Range<usize>,
    text: String,
}

impl Spec {
    /// Writes a spec without presets: the same text, in which what they stand for is in their place.
    ///
    /// # Errors
    /// All the mistakes of the spec; also where the text stands for several stages at once, by an alias, so that it cannot be changed in one.
    pub fn without_presets(name: &str, text: &str) -> Result<String, SpecErrors> {
        let before = Self::parse(name, text)?;
        let file = File::new(name, text);
        let keys = Document::parse(text).map_err(|problem| vec![*problem]).and_then(|document| document.read());
        let mut keys: SpecKeys = keys.map_err(|problems| file.errors(problems))?;
        let mut edits = Context::new(&file, None).presets(&mut keys);
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        let mut out = text.to_owned();
        for edit in edits.iter().rev() {
            if out.is_char_boundary(edit.span.start) && out.is_char_boundary(edit.span.end) {
                out.replace_range(edit.span.clone(), &edit.text);
            }
        }
        let same = |after: &Self| serde_json::to_value(after).ok() == serde_json::to_value(&before).ok();
        match Self::parse(name, &out) {
            Ok(after) if same(&after) => Ok(out),
            _ => {
                let help = "write the stages that share text by an anchor or in `{…}` each out";
                let message = "what the presets of this spec stand for cannot be written in their place";
                Err(file.errors(vec![Problem::new(0..0, message, help)]))
            }
        }
    }
}

/// What one preset is written with.
struct Written {
    language: At<LanguageWord>,
    version: Option<At<LanguageVersion>>,
}

impl Written {
    fn version(&self) -> Option<&str> {
        self.version.as_ref().map(|version| version.0.as_str())
    }
}

impl Context<'_> {
    /// Puts in what presets stand for, and gives the changes of the text that say the same.
    pub(super) fn presets(&mut self, keys: &mut SpecKeys) -> Vec<Edit> {
        let mut edits = Vec::new();
        let release = keys.image.from.debian.clone();
        for stage in keys.stages.values_mut() {
            self.stage_preset(stage, release.as_ref(), &mut edits);
        }
        self.image_preset(keys, &mut edits);
        edits
    }

    fn image_preset(&mut self, keys: &mut SpecKeys, edits: &mut Vec<Edit>) {
        let from = &mut keys.image.value.from;
        let Some(written) = self.written(from.value.language.take(), from.value.version.take()) else { return };
        if let Some(other) =
            from.image.as_ref().map(|image| &image.span).or(from.scratch.as_ref().map(|scratch| &scratch.span))
        {
            let help = "delete `language`, or write `debian: RELEASE` instead";
            self.wrong(&other.clone(), "only an image of packages has the packages of a language", help);
            return;
        }
        let packages = written.language.runtime(written.version());
        self.add_packages(&mut from.value.packages, packages, &written);
        let debian = from.value.debian.get_or_insert_with(|| usual_release(&written));
        let mut parts = vec![format!("debian: {}", debian.0), packages_text(&from.packages)];
        parts.extend(release_texts(from.suites.as_ref(), from.components.as_ref()));
        parts.extend(from.scripts.as_ref().map(|scripts| format!("scripts: {}", self.piece(&scripts.span))));
        edits.push(Edit { span: self.whole(from), text: format!("{{{}}}", parts.join(", ")) });
    }

    fn stage_preset(&mut self, stage: &mut At<StageKeys>, release: Option<&At<Codename>>, edits: &mut Vec<Edit>) {
        let Some(mut from) = stage.value.from.take() else { return };
        let toolchain = from.value.toolchain.take();
        match self.written(from.value.language.take(), from.value.version.take()) {
            Some(written) => {
                self.stage_from(&mut from, &written, toolchain.as_ref(), release);
                let env = self.preset_env(&mut stage.value, &written, toolchain.as_ref(), edits);
                let further: Vec<String> =
                    env.into_iter().chain(preset_dependencies(&mut stage.value, &written)).collect();
                self.preset_sees(&mut stage.value, &written, toolchain.as_ref(), edits);
                self.say_from(&from, stage.flow, &further, edits);
            }
            None => {
                if let Some(toolchain) = toolchain {
                    self.wrong(&toolchain.span, "`toolchain` is for `language`", "write `language: go`, or delete it");
                }
            }
        }
        stage.value.from = Some(from);
    }

    /// Takes a preset; a version without one is a mistake.
    fn written(&mut self, language: Option<At<LanguageWord>>, version: Option<At<LanguageVersion>>) -> Option<Written> {
        if let (None, Some(version)) = (&language, &version) {
            let help = "write `language: node`; the version of a package stands behind its name, `nodejs=20.*`";
            self.wrong(&version.span, "`version` is for `language`", help);
        }
        Some(Written { language: language?, version })
    }

    fn stage_from(
        &mut self,
        from: &mut At<StageFrom>,
        written: &Written,
        toolchain: Option<&At<Name>>,
        release: Option<&At<Codename>>,
    ) {
        let language = written.language.value;
        let elsewhere = from.image.as_ref().map(|image| &image.span).or(toolchain.map(|toolchain| &toolchain.span));
        if let (Some(_), Some(version)) = (elsewhere, &written.version) {
            let help = "delete it: what the image or the archive has is what there is";
            self.wrong(&version.span, "`version` chooses packages, and the tools of this stage are none", help);
        }
        if let (LanguageWord::Rust, Some(toolchain)) = (language, toolchain) {
            let help = "run the `install.sh` of the archive in a stage, and go on from that";
            self.wrong(&toolchain.span, "Rust's archives have no `bin` that works as it is", help);
        }
        if let (Some(image), Some(toolchain)) = (&from.image, toolchain) {
            self.wrong(
                &toolchain.span.clone(),
                format!("the tools are those of `{}`", image.value.0),
                "keep one of both",
            );
        }
        if from.image.is_some() {
            return;
        }
        let packages = match toolchain {
            Some(_) => language.beneath().iter().map(|package| (*package).to_owned()).collect(),
            None => language.tools(written.version()),
        };
        self.add_packages(&mut from.value.packages, packages, written);
        if from.debian.is_none() {
            from.value.debian = Some(release.cloned().unwrap_or_else(|| usual_release(written)));
        }
    }

    /// Puts packages in front of those that are written; one that is written counts as it is.
    fn add_packages(&mut self, list: &mut Vec<At<PackageRequest>>, packages: Vec<String>, written: &Written) {
        let request = |text: &String| <PackageRequest as Scalar>::read(text).ok();
        let own = packages.iter().filter_map(request).filter(|own| !list.iter().any(|other| other.name == own.name));
        let own: Vec<_> = own.map(|value| At { span: written.language.span.clone(), flow: false, value }).collect();
        list.splice(0..0, own);
    }

    /// Adds the variables that the stage does not set itself, and gives what is written for them in a line of its own.
    fn preset_env(
        &mut self,
        stage: &mut StageKeys,
        written: &Written,
        toolchain: Option<&At<Name>>,
        edits: &mut Vec<Edit>,
    ) -> Option<String> {
        let span = &written.language.span;
        let folder = toolchain.map(|toolchain| format!("/{}", source_root(&toolchain.value)));
        let first = stage.env.keys().map(|name| name.span.clone()).min_by_key(|span| span.start);
        let mut said = Vec::new();
        for (name, value) in written.language.env(folder.as_deref()) {
            let key = At { span: span.clone(), flow: false, value: EnvName(name.to_owned()) };
            if stage.env.contains_key(&key) {
                continue;
            }
            said.push(format!("{name}: {value}"));
            stage.env.insert(key, At { span: span.clone(), flow: false, value: Value(value) });
        }
        if said.is_empty() {
            return None;
        }
        let Some(first) = first else { return Some(format!("env: {{{}}}", said.join(", "))) };
        let flow = self.text[..first.start].trim_end().ends_with(['{', ',']);
        let end = if flow { ", ".to_owned() } else { format!("\n{}", self.indent(first.start)) };
        let text = said.into_iter().map(|line| line + &end).collect();
        edits.push(Edit { span: first.start..first.start, text });
        None
    }

    /// Says what commands see that are written as plain text.
    fn preset_sees(
        &mut self,
        stage: &mut StageKeys,
        written: &Written,
        toolchain: Option<&At<Name>>,
        edits: &mut Vec<Edit>,
    ) {
        let Some(steps) = stage.steps.as_mut() else { return };
        for step in &mut steps.value {
            let StepText::Shell(command) = &step.value else { continue };
            let Some(files) = written.language.sees(command) else { continue };
            let tools = toolchain.map(|toolchain| format!("/{}/**", source_root(&toolchain.value)));
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).chain(tools).collect();
            let quoted: Vec<String> = files.iter().map(|file| format!("'{file}'")).collect();
            let (run, indent) = (self.piece(&step.span), self.indent(step.span.start));
            edits.push(Edit {
                span: step.span.clone(),
                text: format!("run: {run}\n{indent}sees: [{}]", quoted.join(", ")),
            });
            let at = |value| At { span: written.language.span.clone(), flow: false, value };
            step.value = StepText::Keys(Box::new(StepKeys {
                run: At { span: step.span.clone(), flow: false, value: RunText::Shell(command.clone()) },
                sees: Some(files.into_iter().map(at).collect()),
                env: BTreeMap::new(),
                secrets: Vec::new(),
                name: None,
            }));
        }
    }

    /// Says in the text what a stage is from, and what it has further.
    fn say_from(&self, from: &At<StageFrom>, flow: bool, further: &[String], edits: &mut Vec<Edit>) {
        let mut parts = Vec::new();
        parts.extend(from.debian.as_ref().map(|debian| format!("debian: {}", debian.0)));
        parts.extend(from.image.as_ref().map(|image| format!("image: {}", self.piece(&image.span))));
        parts.extend(from.signed_by.as_ref().map(|key| format!("signed-by: {}", self.piece(&key.span))));
        if !from.packages.is_empty() || from.debian.is_some() {
            parts.push(packages_text(&from.packages));
        }
        parts.extend(release_texts(from.suites.as_ref(), from.components.as_ref()));
        let key = self.text[..from.span.start].rfind("from").unwrap_or(from.span.start);
        let between = if flow { ", ".to_owned() } else { format!("\n{}", self.indent(key)) };
        let further: String = further.iter().map(|line| format!("{between}{line}")).collect();
        edits.push(Edit { span: self.whole(from), text: format!("{{{}}}{further}", parts.join(", ")) });
    }

    /// The bytes of a map: of one in braces not the comment behind it.
    fn whole<T>(&self, map: &At<T>) -> Range<usize> {
        let mut open = 0_u32;
        let piece = self.text.get(map.span.clone()).unwrap_or_default();
        let end = piece.char_indices().filter(|_| map.flow).find(|(_, c)| {
            open = match c {
                '{' => open + 1,
                '}' => open.saturating_sub(1),
                _ => return false,
            };
            open == 0
        });
        map.span.start..end.map_or(map.span.end, |(at, _)| map.span.start + at + 1)
    }

    fn piece(&self, span: &Range<usize>) -> String {
        self.text.get(span.clone()).unwrap_or_default().trim_end().to_owned()
    }

    /// The blanks that bring a line as far in as a place of the text.
    fn indent(&self, at: usize) -> String {
        let line = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        " ".repeat(self.text[line..at].chars().count())
    }
}

/// The release where nothing names one.
fn usual_release(written: &Written) -> At<Codename> {
    At { span: written.language.span.clone(), flow: false, value: Codename(preset::RELEASE.to_owned()) }
}

/// Says which parts of a release are meant, where that is written.
fn release_texts(suites: Option<&At<Vec<At<Suite>>>>, components: Option<&At<Vec<At<Component>>>>) -> Vec<String> {
    let suites = suites.map(|list| ("suites", list.iter().map(|suite| suite.0.as_str()).collect::<Vec<_>>()));
    let components = components.map(|list| ("components", list.iter().map(|one| one.0.as_str()).collect::<Vec<_>>()));
    suites.into_iter().chain(components).map(|(key, list)| format!("{key}: [{}]", list.join(", "))).collect()
}

fn packages_text(packages: &[At<PackageRequest>]) -> String {
    let packages: Vec<String> = packages.iter().map(|package| package.value.to_string()).collect();
    format!("packages: [{}]", packages.join(", "))
}

/// Names the lock file that projects in the language have, where the stage names none.
fn preset_dependencies(stage: &mut StageKeys, written: &Written) -> Option<String> {
    let (kind, file) = written.language.lock_file()?;
    if stage.dependencies.is_some() {
        return None;
    }
    let at = || written.language.span.clone();
    let path = CleanPath::parse(file).expect("a clean path");
    let keys =
        DependencyKeys::one(Ecosystem::named(kind)?, At { span: at(), flow: false, value: LockFile::Beneath(path) });
    stage.dependencies = Some(vec![At { span: at(), flow: false, value: keys }]);
    Some(format!("dependencies: [{{{kind}: {file}}}]"))
}

#[cfg(test)]
mod tests {
    use crate::spec::{Base, Spec, StageBase};

    const NODE: &str = "bulla: 1
name: shop
sources: {app: {path: .}}
stages:
  build:
    from: {language: node, version: 20, packages: [git]}  # tools
    env:
      NODE_ENV: development
    steps:
      - npm ci --no-audit
      - npm run build
    outputs: {dist: /src/app/dist}
image:
  from:
    language: node
    debian: trixie
  copy: [{output: build.dist, to: /app}]
  entrypoint: [node, /app/main.js]
  user: 65532
";

    fn parse(text: &str) -> Spec {
        Spec::parse("bulla.yaml", text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn packages(spec: &Spec, stage: &str) -> Vec<String> {
        match &spec.stages[stage].base {
            StageBase::Debian(debian) => debian.packages.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// What is written in the place of the presets means the same, and has none.
    fn expanded(text: &str) -> String {
        let out = Spec::without_presets("bulla.yaml", text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(!out.contains("language"), "{out}");
        out
    }

    fn in_build(language: &str, rest: &str) -> String {
        format!(
            "bulla: 1\nname: a\nsources: {{app: {{path: .}}, tools: {{path: tools}}}}\nstages:\n  build:\n    from: {language}\n    workdir: /src/app\n{rest}    outputs: {{out: /out}}\nimage: {{from: {{scratch: {{}}}}, copy: [{{output: build.out, to: /out}}], entrypoint: [/out], user: 1}}\n"
        )
    }

    #[test]
    fn a_preset_is_what_it_says_it_is() {
        let out = expanded(NODE);
        for line in [
            "    from: {debian: trixie, packages: [nodejs=20.*, npm, git]}\n    dependencies: [{npm: package-lock.json}]  # tools\n",
            "      - run: npm ci --no-audit\n        sees: ['**/package.json', 'package-lock.json', ",
            "      - npm run build\n",
            "  from:\n    {debian: trixie, packages: [nodejs, ca-certificates]}\n",
        ] {
            assert!(out.contains(line), "{out}");
        }
        let spec = parse(NODE);
        assert_eq!(packages(&spec, "build"), ["nodejs=20.*", "npm", "git"]);
        let Base::Debian { debian, .. } = &spec.image.base else { panic!("{:?}", spec.image.base) };
        assert_eq!(debian.release.codename, "trixie");
        let build = &spec.stages["build"];
        assert_eq!(build.steps[0].sees.as_ref().map(Vec::len), Some(4));
        assert!(build.steps[1].sees.is_none());
    }

    #[test]
    fn poetry_sees_its_lock_file_alone_where_it_leaves_the_project_out() {
        let steps = [
            "poetry install --no-root --only main",
            "poetry sync --no-root",
            "poetry install",
            "poetry install --no-root -C api",
        ];
        let steps: String = steps.iter().map(|step| format!("      - {step}\n")).collect();
        let spec = parse(&in_build(
            "{language: python, debian: trixie}",
            &format!("    dependencies: [{{pypi: poetry.lock}}]\n    steps:\n{steps}"),
        ));
        let seen = spec.stages["build"].steps.iter().map(|step| step.sees.as_ref().map(Vec::len));
        assert_eq!(seen.collect::<Vec<_>>(), [Some(3), Some(3), None, None]);
    }

    #[test]
    fn every_language_is_written_out_the_same() {
        for language in ["node", "python", "rust", "go", "java", "c"] {
            for from in [
                format!("{{language: {language}}}"),
                format!("{{language: {language}, suites: [bookworm], components: [main, contrib], debian: bookworm}}"),
                format!("\n      language: {language}\n      packages:\n        - git  # more"),
            ] {
                for steps in [
                    "",
                    "    steps:\n      - npm ci\n      - 'go mod download'\n      - pip install -r requirements.txt\n",
                    "    env: {PATH: /bin, A: b}\n",
                    "    dependencies: []\n",
                ] {
                    expanded(&in_build(&from, steps));
                }
            }
        }
        expanded(
            "bulla: 1\nname: a\nsources: {app: {path: .}}\nstages: {build: {from: {language: go}, env: {A: b}, outputs: {out: /out}}}\nimage: {from: {language: go}, copy: [{output: build.out, to: /out}], entrypoint: [/out], user: 1}\n",
        );
    }

    #[test]
    fn what_is_written_wins() {
        let spec = parse(&in_build(
            "{language: go, packages: [golang-go=2:1.19~1]}",
            "    env: {CGO_ENABLED: 1}\n    dependencies: []\n",
        ));
        let build = &spec.stages["build"];
        assert_eq!(packages(&spec, "build"), ["golang-go=2:1.19~1"]);
        assert_eq!(
            (build.env["CGO_ENABLED"].as_str(), build.env["GOFLAGS"].as_str()),
            ("1", "-trimpath -buildvcs=false")
        );
        assert!(build.dependencies.is_empty());
    }

    #[test]
    fn tools_come_from_an_archive_or_an_image_in_the_place_of_packages() {
        let text =
            in_build("{language: go, toolchain: tools, debian: bookworm}", "    steps:\n      - go mod download\n");
        let spec = parse(&text);
        assert!(packages(&spec, "build").is_empty());
        assert!(spec.stages["build"].env["PATH"].starts_with("/src/tools/bin:"));
        assert_eq!(spec.stages["build"].steps[0].sees.as_ref().map(Vec::len), Some(5));
        expanded(&text);
        expanded(&in_build("{language: node, image: 'registry.example/node:20'}", "    steps:\n      - npm ci\n"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let of = |from: &str| {
            Spec::parse("bulla.yaml", &in_build(from, "    steps:\n      - make\n")).expect_err("a mistake").to_string()
        };
        for (from, what) in [
            ("{language: cobol}", "cobol"),
            ("{language: node, version: latest}", "is no version"),
            ("{debian: trixie, version: 20}", "`version` is for `language`"),
            ("{debian: trixie, toolchain: tools}", "`toolchain` is for `language`"),
            ("{language: rust, toolchain: tools}", "install.sh"),
            ("{language: go, toolchain: tools, version: 1.24}", "`version` chooses packages"),
        ] {
            assert!(of(from).contains(what), "{}", of(from));
        }
    }

    #[test]
    fn stages_that_share_their_text_are_said_to_be_not_writable() {
        let text = "bulla: 1\nname: a\nsources: {app: {path: .}}\nstages:\n  one:\n    from: &base {language: go}\n    steps:\n      - go build\n    outputs: {out: /out}\n  two:\n    from: *base\n    steps:\n      - go vet\nimage: {from: {scratch: {}}, copy: [{output: one.out, to: /out}], entrypoint: [/out], user: 1}\n";
        parse(text);
        let error = Spec::without_presets("bulla.yaml", text).expect_err("an alias").to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
