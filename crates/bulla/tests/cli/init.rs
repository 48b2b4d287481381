use bulla_testkit::Project;

use crate::offline;

#[test]
fn what_it_writes_is_good_and_fits_the_folder() {
    for (what, project, expected) in [
        ("C", Project::new().file("main.c", "int main(void){return 0;}"), "cc -O2"),
        ("a Makefile", Project::new().file("Makefile", "shop: shop.c\n\tcc -o shop shop.c\n"), "make -j"),
        ("a site", Project::new().file("public/index.html", "<p>"), "nginx-light"),
        (
            "Node.js",
            Project::new()
                .file("package.json", r#"{"scripts": {"start": "node main.js"}}"#)
                .file("package-lock.json", "{}"),
            "from: {language: node, debian: trixie}",
        ),
        ("Go", Project::new().file("go.mod", "module shop\n").file("go.sum", "").file("main.go", ""), "language: go"),
        (
            "Rust",
            Project::new().file("Cargo.toml", "[package]\nname = \"shop\"\n").file("Cargo.lock", ""),
            "language: rust",
        ),
        ("Python", Project::new().file("requirements.txt", "").file("app.py", ""), "language: python"),
        ("Maven", Project::new().file("pom.xml", "<project><artifactId>shop</artifactId></project>"), "language: java"),
        ("nothing", Project::new(), "nothing that Bulla knows"),
    ] {
        let environment = offline();
        let ran = environment.run(&project, &["init", "--release", "trixie"]).success();
        assert!(ran.stderr.starts_with("Wrote bulla.yaml."), "{what}: {}", ran.stderr);
        let text = project.read("bulla.yaml");
        assert!(text.contains(expected) && text.contains("debian: trixie"), "{what}: {text}");
        assert!(text.lines().count() <= 16, "{what}: {text}");
        environment.run(&project, &["check"]).success();
    }
}

#[test]
fn a_spec_that_is_there_is_never_overwritten() {
    let project = Project::new().file("bulla.yaml", "mine");
    let ran = offline().run(&project, &["init"]).failure(3);
    assert!(ran.stderr.contains("exists, and is not overwritten"), "{}", ran.stderr);
    assert_eq!(project.read("bulla.yaml"), "mine");
    let link = Project::new().symlink("bulla.yaml", "elsewhere");
    offline().run(&link, &["init"]).failure(3);
    assert!(!link.path("elsewhere").exists());
}

#[test]
fn what_is_no_codename_is_refused() {
    let project = Project::new();
    offline().run(&project, &["init", "--release", "a: b\nc"]).failure(3);
    assert!(!project.path("bulla.yaml").exists());
}
