use super::*;
use crate::{DiffId, Epoch, Platform};

fn sample() -> (ImageConfig, Manifest, Index) {
    let mut runtime = Runtime {
        user: "65532".into(),
        env: vec!["PATH=/usr/bin".into()],
        entrypoint: vec!["/usr/bin/app".into()],
        cmd: vec!["--serve".into()],
        working_dir: "/srv".into(),
        stop_signal: "SIGTERM".into(),
        ..Runtime::default()
    };
    runtime.exposed_ports.insert("8080/tcp".into(), Empty {});
    runtime.volumes.insert("/data".into(), Empty {});
    runtime.labels.insert("team".into(), "clay".into());
    let mut config = ImageConfig::new(Platform::LinuxAmd64, Epoch::new(1_700_000_000).expect("an epoch"), runtime);
    config.rootfs.diff_ids.push(DiffId(Digest::of("tar")));
    config.history.push(History { created_by: Some("bulla: base-files=12".into()), ..History::default() });
    let (described, _) = encode_described(CONFIG, &config);
    let mut manifest = Manifest::new(described, vec![Descriptor::new(LAYER_GZIP, Digest::of("gzip"), 4)]);
    manifest.annotations.insert(CREATED.into(), "2023-11-14T22:13:20Z".into());
    let (mut described, _) = encode_described(MANIFEST, &manifest);
    described.platform = Some(Platform::LinuxAmd64.into());
    (config, manifest, Index::new(vec![described]))
}

#[test]
fn the_bytes_of_the_documents_are_pinned() {
    let (config, manifest, index) = sample();
    let text = String::from_utf8(encode(&config)).expect("UTF-8");
    assert_eq!(
        text,
        r#"{"created":"2023-11-14T22:13:20Z","architecture":"amd64","os":"linux","config":{"User":"65532","ExposedPorts":{"8080/tcp":{}},"Env":["PATH=/usr/bin"],"Entrypoint":["/usr/bin/app"],"Cmd":["--serve"],"Volumes":{"/data":{}},"WorkingDir":"/srv","Labels":{"team":"clay"},"StopSignal":"SIGTERM"},"rootfs":{"type":"layers","diff_ids":["DIFFID"]},"history":[{"created_by":"bulla: base-files=12"}]}"#
            .replace("DIFFID", &Digest::of("tar").to_string())
    );
    assert_eq!(
        Digest::of(encode(&manifest)).to_string(),
        "sha256:b8a7130fb610efdceaf801e58976e335ca6dcb2b7673a04caced0c6f2e96d08f"
    );
    assert_eq!(
        Digest::of(encode(&index)).to_string(),
        "sha256:cf15a1d11d634e864a1c4a79ecbe9956ab78fc7c9346baa158c06ff202b6caa1"
    );
}

#[test]
fn documents_are_read_back() {
    let (config, manifest, index) = sample();
    assert_eq!(serde_json::from_slice::<ImageConfig>(&encode(&config)).expect("a configuration"), config);
    assert_eq!(serde_json::from_slice::<Manifest>(&encode(&manifest)).expect("a manifest"), manifest);
    assert_eq!(serde_json::from_slice::<Index>(&encode(&index)).expect("an index"), index);
}

#[test]
fn a_docker_configuration_with_nulls_is_read() {
    let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Volumes":null,"OnBuild":null},
        "rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config: ImageConfig = serde_json::from_str(text).expect("a configuration");
    assert_eq!(config.config, Runtime::default());
}

#[test]
fn an_old_schema_version_and_a_bad_digest_are_refused() {
    assert!(serde_json::from_str::<Index>(r#"{"schemaVersion":1,"manifests":[]}"#).is_err());
    let bad = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../etc","size":1}]}"#;
    assert!(serde_json::from_str::<Index>(bad).is_err());
    let negative = format!(r#"{{"mediaType":"x","digest":"{}","size":-1}}"#, Digest::of(""));
    assert!(serde_json::from_str::<Descriptor>(&negative).is_err());
}

#[test]
fn a_referrer_is_listed_by_its_kind_and_annotations() {
    let subject = Descriptor::new(INDEX, Digest::of("image"), 5);
    let mut manifest = Manifest::new(Descriptor::new(EMPTY, Digest::of("{}"), 2), vec![]);
    assert_eq!(Referrer::read(MANIFEST, &encode(&manifest)), None, "it refers to nothing");
    manifest.subject = Some(subject.clone());
    manifest.annotations.insert("a".into(), "b".into());
    let kind = |manifest: &Manifest| {
        let found = Referrer::read(MANIFEST, &encode(manifest)).expect("a referrer");
        assert_eq!((found.subject, found.entry.digest), (subject.digest, Digest::of(encode(manifest))));
        assert_eq!(found.entry.annotations, manifest.annotations);
        found.entry.artifact_type.expect("a kind")
    };
    assert_eq!(kind(&manifest), EMPTY);
    manifest.artifact_type = Some("application/x".into());
    assert_eq!(kind(&manifest), "application/x");
    let mut index = Index::new(vec![]);
    index.subject = Some(subject);
    assert_eq!(Referrer::read(INDEX, &encode(&index)).expect("a referrer").entry.artifact_type, None);
    for (media_type, bytes) in [(DOCKER_MANIFEST, encode(&manifest)), (MANIFEST, b"{".to_vec())] {
        assert_eq!(Referrer::read(media_type, &bytes), None);
    }
}
