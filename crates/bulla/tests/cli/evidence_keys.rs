//! Keys that lie elsewhere: on tokens of SoftHSM, and in what stands in for Vault.

use std::{net::TcpListener, process::Command};

use bulla_testkit::{
    Project, SoftHsm, TestEnvironment, Vault, VaultFault, contains, cosign, docker::Registry, process, skipped,
};

use crate::{
    evidence::{report, verdicts, with_keys},
    evidence_clients::VERIFIER,
    offline,
    registry::{built, site},
};

const P256: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const ED25519: &[&str] = &["ED25519"];

/// An environment that finds the tokens, and knows their PIN.
fn with_tokens(hsm: &SoftHsm) -> TestEnvironment {
    let environment = offline().set("SOFTHSM2_CONF", &hsm.settings().display().to_string());
    environment.set("BULLA_KEY_PASSWORD", SoftHsm::PIN)
}

fn uri(hsm: &SoftHsm, key: &str) -> String {
    format!("pkcs11:token=release;object={key}?module-path={}", hsm.module().display())
}

/// Signs a file and an image by each key, and finds it good by its public key and by no other's; once more, and nothing is written.
fn signs(environment: &TestEnvironment, project: &Project, keys: [(&str, &str); 2]) {
    project.write("app.bin", "the program");
    project.write("x.json", "{}");
    for ((key, public), (_, other)) in keys.into_iter().zip([keys[1], keys[0]]) {
        project.write("key.pub", public);
        project.write("other.pub", other);
        assert_eq!(environment.run(project, &["key", "public", key]).success().stdout, public);
        let sign = ["sign", "file:app.bin", "--key", key, "--output", "app.sig"];
        environment.run(project, &sign).success();
        let first = project.read("app.sig");
        environment.run(project, &sign).success();
        assert_eq!(project.read("app.sig"), first, "what is signed is not signed again");
        fs_err::rename(project.path("app.sig"), project.path("app.bin.sigstore.json")).expect("renamed");
        environment.run(project, &["verify", "file:app.bin", "--key", "key.pub"]).success();
        environment.run(project, &["verify", "file:app.bin", "--key", "other.pub"]).failure(7);
        let attest = ["attest", "oci:bulla-out", "--type", "spdxjson", "--predicate", "x.json", "--key", key];
        environment.run(project, &["sign", "oci:bulla-out", "--key", key]).success();
        environment.run(project, &attest).success();
        let index = project.read("bulla-out/index.json");
        environment.run(project, &["sign", "oci:bulla-out", "--key", key]).success();
        environment.run(project, &attest).success();
        assert_eq!(project.read("bulla-out/index.json"), index, "what is signed is not signed again");
        let found = report(environment, project, 0, &["oci:bulla-out", "--key", "key.pub"]);
        let proven = |about: &str| verdicts(&found).iter().filter(|one| one.0 == about && one.1 == "proven").count();
        assert_eq!((proven("signature"), proven("https://spdx.dev/Document")), (2, 2), "{found}");
    }
}

#[test]
fn a_key_on_a_token_signs() {
    let Some(hsm) = SoftHsm::new() else { return };
    hsm.token("release");
    hsm.token("other");
    let publics = [hsm.key("release", "one", "01", P256), hsm.key("release", "two", "02", ED25519)];
    hsm.key("other", "one", "01", P256);
    let (environment, project) = (with_tokens(&hsm), site());
    built(&environment, &project);
    let uris = [uri(&hsm, "one"), uri(&hsm, "two")];
    signs(&environment, &project, [(&uris[0], &publics[0]), (&uris[1], &publics[1])]);
    // No PIN for a public key; by identifier; by the module of the configuration.
    let module = hsm.module().display();
    let without = environment.unset("BULLA_KEY_PASSWORD");
    without.write_config(&format!("[registry.debian]\napt = false\n[evidence]\npkcs11-module = \"{module}\"\nci-key = \"pkcs11:token=release;id=%01\"\n"));
    let public = without.run(&project, &["key", "public", "pkcs11:token=release;id=%01"]).success().stdout;
    assert_eq!(public, publics[0]);
    // The PIN from a file that the URI names, and from the option's.
    project.write("pin", format!("{}\n", SoftHsm::PIN));
    let source = format!("pkcs11:token=release;object=one?pin-source=file:{}", project.path("pin").display());
    without.run(&project, &["sign", "file:app.bin", "--key", &source, "--output", "by-source.json"]).success();
    let plain = "pkcs11:token=release;object=one";
    let sign = ["sign", "file:app.bin", "--output", "by-option.json", "--key", plain];
    without.run(&project, &[&sign[..], &["--passphrase-file", "pin"]].concat()).success();
    // What CI builds.
    let ci = with_tokens(&hsm).set("CI", "true");
    ci.write_config(&fs_err::read_to_string(without.config()).expect("a configuration"));
    fs_err::remove_dir_all(project.path("bulla-out")).expect("removed");
    project.write("key.pub", &publics[0]);
    ci.run(&project, &["lock"]).success();
    ci.run(&project, &["build", "--allow-dirty"]).success();
    let found = report(&ci, &project, 0, &["oci:bulla-out", "--key", "key.pub"]);
    assert!(verdicts(&found).contains(&("https://slsa.dev/provenance/v1".into(), "proven".into())), "{found}");
    let index = project.read("bulla-out/index.json");
    ci.run(&project, &["build", "--allow-dirty"]).success();
    assert_eq!(project.read("bulla-out/index.json"), index, "an unchanged build signs nothing anew");
}

#[test]
fn a_token_that_does_not_fit_is_told_of_and_no_pin_is_shown() {
    let Some(hsm) = SoftHsm::new() else { return };
    hsm.token("release");
    hsm.token("other");
    for (token, label, kind) in [
        ("release", "one", P256),
        ("release", "three", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("release", "four", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("other", "five", P256),
    ] {
        hsm.key(token, label, &format!("0{}", label.len()), kind);
    }
    let (environment, project) = (with_tokens(&hsm), Project::new().file("x", "x").file("no-module.so", "text"));
    let module = hsm.module().display().to_string();
    let sign = |environment: &TestEnvironment, key: &str, code: i32| {
        let ran = environment.run(&project, &["sign", "file:x", "--key", key]).failure(code);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!said.contains("4711"), "a PIN is shown: {said}");
        assert!(!project.path("x.sigstore.json").exists(), "nothing is written");
        said
    };
    let at = |path: &str| format!("pkcs11:{path}?module-path={module}");
    for (key, code, says) in [
        (at("token=elsewhere;object=one"), 3, "no token"),
        (at("object=one"), 3, "which token"),
        (at("token=release;object=nine"), 3, "no private key"),
        (at("token=release"), 3, "which private key"),
        (at("token=release;object=three"), 3, "neither one of P-256"),
        (at("token=release;object=four"), 3, "neither one of P-256"),
        (at("token=release;serial=0"), 3, "no token"),
        ("pkcs11:token=release;object=one".to_owned(), 3, "pkcs11-module"),
        (format!("{}&pin-value=4711", at("token=release;object=one")), 3, "pin-source"),
        ("pkcs11:token=release?module-path=no-module.so".to_owned(), 3, "from `/` on"),
        ("pkcs11:?module-path=/no/such/module.so".to_owned(), 4, "module.so"),
        (format!("pkcs11:?module-path={}", project.path("no-module.so").display()), 4, "loading"),
        ("awskms:///alias/x".to_owned(), 3, "PKCS #11"),
    ] {
        let said = sign(&environment, &key, code);
        assert!(said.contains(says), "{key}: {said}");
    }
    let one = at("token=release;object=one");
    let wrong = sign(&with_tokens(&hsm).set("BULLA_KEY_PASSWORD", "wrong-4711"), &one, 5);
    assert!(wrong.contains("PIN of the token `release` is wrong"), "{wrong}");
    let nobody = sign(&with_tokens(&hsm).unset("BULLA_KEY_PASSWORD").through(&["setsid"]), &one, 4);
    assert!(nobody.contains("cannot be asked for"), "{nobody}");
    // The control.
    environment.run(&project, &["sign", "file:x", "--key", &one]).success();
}

/// Makes a module that leaves a mark when it is loaded.
fn trap(project: &Project) -> Option<String> {
    if !process::exists("cc") {
        skipped("a module that leaves a mark", "there is no compiler");
        return None;
    }
    let mark = project.path("mark").display().to_string();
    let code = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void run(void) {{ open(\"{mark}\", O_CREAT | O_WRONLY, 0600); }}\n"
    );
    project.write("trap.c", &code);
    let module = project.path("trap.so").display().to_string();
    process::output(Command::new("cc").current_dir(project.root()).args(["-shared", "-fPIC", "-o", &module, "trap.c"]))
        .expect("compiled");
    Some(module)
}

#[test]
fn no_file_of_a_project_chooses_a_module() {
    let (environment, project, _) = with_keys();
    let Some(module) = trap(&project) else { return };
    let uri = format!("pkcs11:token=x;object=y?module-path={module}");
    let mark = || project.path("mark").exists();
    // A policy, the spec's key of a base, a configuration in the project, and a key file that is a URI.
    project.write("policy.yaml", format!("policy: 1\nkeys: [\"{uri}\"]\n"));
    environment.run(&project, &["verify", "oci:bulla-out", "--policy", "policy.yaml"]).failure(4);
    environment.run(&project, &["verify", "oci:bulla-out", "--key", &uri]).failure(4);
    environment.run(&project, &["checklist", "oci:bulla-out", "--key", &uri]).failure(4);
    project.write("uri.key", &uri);
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "uri.key"]).failure(3);
    for folder in [".bulla", ".", ".config/bulla"] {
        let text = format!("[evidence]\nci-key = \"{uri}\"\npkcs11-module = \"{module}\"\n");
        project.write(&format!("{folder}/config.toml"), &text);
    }
    let spec = project.read("bulla.yaml");
    let base = format!("from: {{image: registry.example/base:1, key: \"{uri}\"}}");
    project.write("bulla.yaml", spec.replace("from: {scratch: {}}", &base));
    environment.run(&project, &["lock"]).failure(3);
    project.write("bulla.yaml", format!("{spec}evidence: {{ci-key: \"{uri}\"}}\n"));
    environment.run(&project, &["lock"]).failure(3);
    project.write("bulla.yaml", &spec);
    let ci = environment.set("CI", "true");
    ci.run(&project, &["lock"]).success();
    ci.run(&project, &["build", "--allow-dirty"]).success();
    assert!(!mark(), "a module of the project was loaded");
    // The control: by an option the same module is loaded, and is none.
    ci.run(&project, &["key", "public", &uri]).failure(4);
    assert!(mark());
}

/// An environment that finds the Vault.
fn with_vault(vault: &Vault) -> TestEnvironment {
    let environment = offline().set("VAULT_ADDR", &vault.url()).set("TRANSIT_SECRET_ENGINE_PATH", Vault::ENGINE);
    environment.set("VAULT_TOKEN", Vault::TOKEN)
}

#[test]
fn a_key_of_vault_signs() {
    let Some(vault) = Vault::start() else { return };
    let publics = [vault.key("one", "ecdsa-p256", 1), vault.key("two", "ed25519", 3)];
    let (environment, project) = (with_vault(&vault), site());
    built(&environment, &project);
    let names = ["hashivault://one", "hashivault://two"];
    signs(&environment, &project, [(names[0], &publics[0]), (names[1], &publics[1])]);
    for question in vault.signed().iter().filter(|question| question["prehashed"] == true) {
        assert_eq!(question["input"].as_str().map(str::len), Some(44), "only a SHA-256 goes there: {question}");
    }
    // The token as `vault login` leaves it.
    let environment = environment.unset("VAULT_TOKEN");
    let missing = environment.run(&project, &["key", "public", "hashivault://one"]).failure(4);
    assert!(missing.stderr.contains("VAULT_TOKEN"), "{}", missing.stderr);
    let home = environment.folder().join("home");
    fs_err::write(home.join(".vault-token"), format!("{}\n", Vault::TOKEN)).expect("written");
    assert_eq!(environment.run(&project, &["key", "public", "hashivault://one"]).success().stdout, publics[0]);
}

#[test]
fn a_vault_that_refuses_or_lies_signs_nothing() {
    let Some(vault) = Vault::start() else { return };
    for (name, kind) in [("one", "ecdsa-p256"), ("two", "ed25519"), ("p384", "ecdsa-p384"), ("aes", "aes256-gcm96")] {
        vault.key(name, kind, 2);
    }
    let project = Project::new().file("x", "x");
    let sign = |environment: &TestEnvironment, key: &str, code: i32| {
        let ran = environment.run(&project, &["sign", "file:x", "--key", key]).failure(code);
        assert!(!project.path("x.sigstore.json").exists(), "nothing is written");
        assert!(!contains(ran.stderr.as_bytes(), Vault::TOKEN), "{}", ran.stderr);
        ran.stderr
    };
    let environment = with_vault(&vault);
    for (key, code, says) in [
        ("hashivault://none", 4, "no key of the name"),
        ("hashivault://p384", 3, "ecdsa-p384"),
        ("hashivault://aes", 3, "aes256-gcm96"),
        ("hashivault://", 3, "name of a key"),
        ("hashivault://../sys/seal", 3, "name of a key"),
        ("hashivault://one?x", 3, "name of a key"),
    ] {
        let said = sign(&environment, key, code);
        assert!(said.contains(says), "{key}: {said}");
    }
    for (variable, value, says) in [
        ("VAULT_TOKEN", "hvs.wrong", "token is wrong"),
        ("VAULT_ADDR", "http://vault.example:8200", "neither https"),
        ("VAULT_ADDR", "vault", "VAULT_ADDR"),
        ("TRANSIT_SECRET_ENGINE_PATH", "../sys", "TRANSIT_SECRET_ENGINE_PATH"),
        ("TRANSIT_SECRET_ENGINE_PATH", "transit", "TRANSIT_SECRET_ENGINE_PATH"),
    ] {
        let said = sign(&with_vault(&vault).set(variable, value), "hashivault://one", 4);
        assert!(said.contains(says), "{variable}={value}: {said}");
    }
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    elsewhere.set_nonblocking(true).expect("a socket");
    let address = elsewhere.local_addr().expect("an address");
    for (fault, code, says) in [
        (VaultFault::OtherKey, 5, "does not verify"),
        (VaultFault::OtherMessage, 5, "does not verify"),
        (VaultFault::OtherVersion, 4, "another version"),
        (VaultFault::NoKey, 5, "public key"),
        (VaultFault::Twice, 5, "twice"),
        (VaultFault::Huge, 5, "longer than"),
        (VaultFault::Sealed, 4, "503"),
    ] {
        vault.fault(Some(fault));
        for key in ["hashivault://one", "hashivault://two"] {
            let said = sign(&environment, key, code);
            assert!(said.contains(says), "{fault:?}: {said}");
        }
    }
    // Whoever it sends the question to does not get the token: the answer there decides nothing either.
    vault.fault(Some(VaultFault::Elsewhere(address)));
    let asked = std::thread::spawn(move || told_to(&elsewhere));
    sign(&environment, "hashivault://one", 4);
    let heard = asked.join().expect("it ends");
    assert!(heard.starts_with("GET /v1/") && !heard.contains(Vault::TOKEN), "{heard}");
    // The control.
    vault.fault(None);
    environment.run(&project, &["sign", "file:x", "--key", "hashivault://one"]).success();
}

/// Hears the first question that is asked there, and answers it by nothing.
fn told_to(listener: &TcpListener) -> String {
    use std::{io::Read as _, time::Duration};
    for _ in 0..600 {
        let Ok((mut connection, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        connection.set_nonblocking(false).expect("a socket");
        connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        let mut heard = vec![0; 8192];
        let count = connection.read(&mut heard).unwrap_or(0);
        return String::from_utf8_lossy(&heard[..count]).into_owned();
    }
    String::new()
}

#[test]
fn sigstores_own_library_verifies_what_keys_elsewhere_sign() {
    let Some(modules) = cosign::node_sigstore() else { return };
    let (Some(hsm), Some(vault)) = (SoftHsm::new(), Vault::start()) else { return };
    hsm.token("release");
    let environment = with_tokens(&hsm).set("VAULT_ADDR", &vault.url()).set("VAULT_TOKEN", Vault::TOKEN);
    let environment = environment.set("TRANSIT_SECRET_ENGINE_PATH", Vault::ENGINE);
    let project = Project::new().file("verify.cjs", VERIFIER).file("app.bin", "the program").file("x.json", "{}");
    let node = |arguments: &[&str]| {
        let mut node = Command::new("node");
        node.current_dir(project.root()).env("NODE_PATH", modules.join("node_modules"));
        process::output(node.arg("verify.cjs").args(arguments))
    };
    for (key, public, takes_files) in [
        (uri(&hsm, "one"), hsm.key("release", "one", "01", P256), true),
        (uri(&hsm, "two"), hsm.key("release", "two", "02", ED25519), false),
        ("hashivault://one".to_owned(), vault.key("one", "ecdsa-p256", 2), true),
        ("hashivault://two".to_owned(), vault.key("two", "ed25519", 1), false),
    ] {
        project.write("key.pub", public);
        for bundle in ["file.json", "statement.json"] {
            let _ = fs_err::remove_file(project.path(bundle));
        }
        environment.run(&project, &["sign", "file:app.bin", "--key", &key, "--output", "file.json"]).success();
        let attest = ["attest", "file:app.bin", "--type", "slsaprovenance1", "--predicate", "x.json", "--key", &key];
        environment.run(&project, &[&attest[..], &["--output", "statement.json"]].concat()).success();
        // It knows no signature of a file by Ed25519, whoever made it.
        assert_eq!(node(&["file.json", "key.pub", "app.bin"]).is_ok(), takes_files, "{key}");
        node(&["statement.json", "key.pub"]).expect("a statement");
        node(&["file.json", "key.pub", "x.json"]).expect_err("another file");
    }
}

#[test]
fn cosign_verifies_what_keys_elsewhere_sign() {
    let Some(program) = cosign::cosign() else { return };
    let (Some(hsm), Some(vault), Some(registry)) = (SoftHsm::new(), Vault::start(), Registry::start()) else { return };
    hsm.token("release");
    let environment = with_tokens(&hsm).set("VAULT_ADDR", &vault.url()).set("VAULT_TOKEN", Vault::TOKEN);
    let (environment, project) = (environment.set("TRANSIT_SECRET_ENGINE_PATH", Vault::ENGINE), site());
    built(&environment, &project);
    project.write("app.bin", "the program");
    let run = |arguments: &[&str]| process::output(cosign::command(&program, project.root(), "").args(arguments));
    for (at, (key, public)) in [
        (uri(&hsm, "one"), hsm.key("release", "one", "01", P256)),
        (uri(&hsm, "two"), hsm.key("release", "two", "02", ED25519)),
        ("hashivault://one".to_owned(), vault.key("one", "ecdsa-p256", 2)),
        ("hashivault://two".to_owned(), vault.key("two", "ed25519", 1)),
    ]
    .into_iter()
    .enumerate()
    {
        project.write("key.pub", &public);
        let reference = format!("{}/team/site{at}:1", registry.address());
        environment.run(&project, &["push", &reference]).success();
        environment.run(&project, &["sign", &reference, "--key", &key]).success();
        for form in ["true", "false"] {
            let bundles = format!("--new-bundle-format={form}");
            let verify = ["verify", "--key", "key.pub", "--insecure-ignore-tlog=true", "--offline"];
            run(&[&verify[..], &["--allow-http-registry", &bundles, &reference]].concat()).expect("signed");
        }
        // Signed again, there is nothing more, in either form.
        let before = report(&environment, &project, 0, &[&reference, "--key", "key.pub"]);
        environment.run(&project, &["sign", &reference, "--key", &key]).success();
        assert_eq!(report(&environment, &project, 0, &[&reference, "--key", "key.pub"]), before);
        let bundle = format!("{at}.sigstore.json");
        environment.run(&project, &["sign", "file:app.bin", "--key", &key, "--output", &bundle]).success();
        let verify = ["verify-blob", "--key", "key.pub", "--bundle", &bundle, "--insecure-ignore-tlog=true"];
        run(&[&verify[..], &["--offline", "app.bin"]].concat()).expect("signed");
        run(&[&verify[..], &["--offline", "bulla.yaml"]].concat()).expect_err("another file");
    }
}
