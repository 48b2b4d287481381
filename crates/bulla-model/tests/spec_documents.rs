//! The JSON schema and the reference of the spec are made from its types, and the committed ones are current.
//! `BULLA_REGENERATE=1` writes them anew.

#![expect(clippy::disallowed_methods, reason = "the documents are files")]

use std::{fs, path::PathBuf};

use bulla_model::{Spec, spec::Workspace};

fn is_current(file: &str, text: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(file);
    if std::env::var_os("BULLA_REGENERATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/{file} is not what the types say; run this test with BULLA_REGENERATE=1");
}

#[test]
fn the_json_schema_is_current() {
    is_current("bulla.schema.json", &Spec::json_schema());
}

#[test]
fn the_reference_is_current() {
    is_current("spec.md", &Spec::reference());
}

#[test]
fn the_json_schema_of_the_workspace_is_current() {
    is_current("bulla.workspace.schema.json", &Workspace::json_schema());
}

#[test]
fn the_reference_of_the_workspace_is_current() {
    is_current("workspace.md", &Workspace::reference());
}
