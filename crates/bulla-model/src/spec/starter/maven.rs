//! Projects of Maven: what their `pom.xml` says of what comes out.

use std::collections::BTreeMap;

use super::plain;

/// The most elements inside one another that are looked at.
const MAX_DEPTH: usize = 8;

/// What of a `pom.xml` is read: the texts of elements, by their paths (`project/build/finalName`), each the first.
struct Pom(BTreeMap<String, String>);

impl Pom {
    /// Reads what there is; what is no XML says little, and nothing wrong.
    fn read(text: &str) -> Self {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut path: Vec<&str> = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('<') {
            if !path.is_empty() && path.len() <= MAX_DEPTH && !before.trim().is_empty() {
                found.entry(path.join("/")).or_insert_with(|| before.trim().to_owned());
            }
            if let Some(comment) = behind.strip_prefix("!--") {
                rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
                continue;
            }
            let (tag, behind) = behind.split_once('>').unwrap_or((behind, ""));
            rest = behind;
            match tag.strip_prefix('/') {
                Some(_) => drop(path.pop()),
                None if tag.ends_with('/') || tag.starts_with(['?', '!']) => {}
                None => path.push(tag.split_whitespace().next().unwrap_or_default()),
            }
            if path.len() > 1000 {
                break;
            }
        }
        Self(found)
    }

    /// Gives a text that can stand in a path as it is: nothing with `${…}`.
    fn word(&self, path: &str) -> Option<&str> {
        let good = |text: &&String| !text.is_empty() && text.len() <= 60 && !text.starts_with(['.', '-']);
        let letters = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        self.0.get(path).filter(good).filter(|text| text.chars().all(letters)).map(String::as_str)
    }
}

/// Writes the spec of a project of Maven.
pub(super) fn starter(name: &str, release: &str, text: &str) -> String {
    let pom = Pom::read(text);
    let artifact = pom.word("project/artifactId").unwrap_or(name);
    let program = if plain(artifact) { artifact } else { name };
    let version = pom.word("project/version").or_else(|| pom.word("project/parent/version"));
    let last = pom
        .word("project/build/finalName")
        .map_or_else(|| format!("{artifact}-{}", version.unwrap_or("1.0")), str::to_owned);
    let has = |word: &str| text.contains(word);
    let packed = pom.word("project/packaging").unwrap_or("jar");
    let runs = ["spring-boot-maven-plugin", "maven-shade-plugin", "mainClass", "Main-Class"].into_iter().any(has);
    let (what, outputs, copies, start) = if has("quarkus-maven-plugin") {
        (
            "a service of Quarkus",
            "app: /src/app/target/quarkus-app".to_owned(),
            "{output: build.app, to: /app}".to_owned(),
            "quarkus-run",
        )
    } else {
        let what = match (packed, runs) {
            ("jar", true) => "a project of Maven",
            ("jar", false) => "a project of Maven; `java -jar` wants a main class in its manifest",
            _ => "a project of Maven that makes no jar; change what it leaves and what is started",
        };
        let (mut outputs, mut copies) =
            (format!("jar: /src/app/target/{last}.jar"), format!("{{output: build.jar, to: /app/{program}.jar}}"));
        // What the jar's class path leads to, where the project lays it beside it.
        if has("copy-dependencies") && has("}/lib<") {
            outputs.push_str(", lib: /src/app/target/lib");
            copies = format!("{{output: build.lib, to: /app/lib, layer: dependencies}}, {copies}");
        }
        (what, outputs, copies, program)
    };
    format!(
        "\
bulla: 1  # found: {what}
name: {name}
sources: {{app: {{path: ., ignore: [target, bulla.*, .git]}}}}
stages:
  build:  # Maven has no lock file: run `bulla lock --observe build`, also when pom.xml has changed
    from: {{language: java, debian: {release}}}
    steps:
      - HOME=/tmp mvn --batch-mode --no-transfer-progress package
    outputs: {{{outputs}}}
image:
  from: {{language: java, debian: {release}}}
  copy: [{copies}]
  entrypoint: [java, -jar, /app/{start}.jar]
  user: 65532
"
    )
}

#[cfg(test)]
mod tests {
    use crate::spec::Spec;

    fn starter(pom: &str) -> (String, Spec) {
        let files = [("pom.xml".to_owned(), pom.to_owned())].into();
        let text = Spec::starter("My Shop", "trixie", &files);
        let spec = Spec::parse("bulla.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(text.lines().count() < 15, "{text}");
        (text, spec)
    }

    fn jar(spec: &Spec) -> String {
        let outputs = &spec.stages["build"].outputs;
        outputs.values().next().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn what_a_project_of_maven_makes_is_taken_and_started() {
        let pom = "<?xml version=\"1.0\"?>
<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <!-- <artifactId>no</artifactId> -->
  <parent><groupId>g</groupId><artifactId>parent</artifactId><version>7</version></parent>
  <artifactId>shopd</artifactId>
  <dependencies><dependency><artifactId>other</artifactId><version>9</version></dependency></dependencies>
  <build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>
</project>";
        let (text, spec) = starter(pom);
        assert_eq!(jar(&spec), "src/app/target/shopd-7.jar");
        assert_eq!(spec.image.entrypoint, ["java", "-jar", "/app/shopd.jar"]);
        assert_eq!(spec.stages["build"].dependencies.len(), 1);
        assert!(text.contains("bulla lock --observe build") && !text.contains("main class"), "{text}");
        let named = pom.replace("<build>", "<version>2.1</version><build><finalName>service</finalName>");
        assert_eq!(jar(&starter(&named).1), "src/app/target/service.jar");
        let variable = pom.replace("<build>", "<build><finalName>${project.artifactId}</finalName>");
        assert_eq!(jar(&starter(&variable).1), "src/app/target/shopd-7.jar");
        let beside = pom.replace(
            "<plugins>",
            "<goal>copy-dependencies</goal><outputDirectory>${project.build.directory}/lib</outputDirectory><plugins>",
        );
        assert_eq!(starter(&beside).1.image.copy.len(), 2);
        let (_, quarkus) = starter(&pom.replace("spring-boot", "quarkus"));
        assert_eq!(quarkus.image.entrypoint[2], "/app/quarkus-run.jar");
        assert!(starter(&pom.replace("spring-boot", "x")).0.contains("wants a main class"));
        assert!(starter(&pom.replace("<build>", "<packaging>war</packaging><build>")).0.contains("makes no jar"));
    }

    #[test]
    fn a_pom_that_is_none_says_nothing_wrong() {
        for bad in [
            "",
            "<",
            "<project><artifactId>../../x</artifactId>",
            "<project><artifactId>a b: [c</artifactId>",
            &"<a>".repeat(5000),
        ] {
            let (_, spec) = starter(bad);
            assert_eq!(jar(&spec), "src/app/target/my-shop-1.0.jar", "{bad}");
        }
    }
}
