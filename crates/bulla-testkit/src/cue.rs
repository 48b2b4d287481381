//! CUE, in which sigstore's policy-controller has its conditions, by its own library.

use std::{path::PathBuf, process::Command};

use crate::{cache, clients, process, skipped};

/// The version of CUE that policy-controller stands on.
const CUE: &str = "v0.15.4";
/// Holds files of JSON against a file of CUE as the controller does: a line a file, of what is wrong.
const HOLD: &str = r#"
package main

import (
	"fmt"
	"os"
	"strings"

	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/encoding/json"
)

func main() {
	rules, _ := os.ReadFile(os.Args[1])
	value := cuecontext.New().CompileBytes(rules)
	if value.Err() != nil {
		fmt.Println("rules:", value.Err())
		os.Exit(1)
	}
	for _, name := range os.Args[2:] {
		document, _ := os.ReadFile(name)
		told := ""
		if err := json.Validate(document, value); err != nil {
			told = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Printf("%s: %s\n", name, told)
	}
}
"#;

/// Gives a program that holds files of JSON against a file of CUE, which `go build` makes when it is not there. `None`, after it was said why, where it cannot be had.
pub fn holder(test: &str) -> Option<PathBuf> {
    let make = || {
        clients()?;
        let program = cache::folder().join(format!("cue-{CUE}"));
        let _lock = cache::lock("cue");
        if !program.is_file() {
            let scratch = tempfile::tempdir_in(cache::folder()).map_err(|error| error.to_string())?;
            let go = |arguments: &[&str]| {
                let mut go = Command::new("go");
                go.args(arguments).current_dir(&scratch).env("CGO_ENABLED", "0").env("GOFLAGS", "-modcacherw -mod=mod");
                go.env("GOPATH", scratch.path().join("path")).env("GOCACHE", scratch.path().join("cache"));
                process::output(&mut go)
            };
            fs_err::write(scratch.path().join("main.go"), HOLD).map_err(|error| error.to_string())?;
            go(&["mod", "init", "example.org/hold"])?;
            go(&["get", &format!("cuelang.org/go@{CUE}")])?;
            go(&["build", "-o", "hold", "."])?;
            fs_err::rename(scratch.path().join("hold"), &program).map_err(|error| error.to_string())?;
        }
        Ok(program)
    };
    make().map_err(|why: String| skipped(test, &why)).ok()
}
