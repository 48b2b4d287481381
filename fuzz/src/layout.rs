//! Images of strangers, as `bulla inspect` reads them.

use std::io::Write as _;

use bulla_build::inspect::{Limits, inspect};
use bulla_model::Digest;
use serde_json::{Value, json};

use crate::package;

const LIMITS: Limits =
    Limits { document: 1 << 20, manifests: 16, layers: 16, plain: 8 << 20, entries: 10_000, names: 1 << 20 };
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An archive of a layout.
pub(crate) fn archive(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("writing it");
    match inspect(file.path(), true, &LIMITS) {
        Ok(images) => images.into_iter().flat_map(|image| image.layers).for_each(|layer| {
            let listing = layer.listing.expect("layers were read");
            assert!(listing.plain_size <= LIMITS.plain && listing.entries.len() as u64 <= LIMITS.entries);
        }),
        Err(error) => crate::shown(&error),
    }
}

/// A document, after a letter that says which: `i`ndex, `m`anifest, `c`onfig. The digests that lead to it are right.
pub(crate) fn document(bytes: &[u8]) {
    let Some((which, document)) = bytes.split_first() else { return };
    let mut layout = Layout::default();
    let layer = layout.blob(LAYER, package::archive(&[("a", b"b")]));
    let diff_id = layer["digest"].clone();
    let config = match which {
        b'c' => document.to_owned(),
        _ => config(&diff_id).to_string().into_bytes(),
    };
    let config = layout.blob(CONFIG, config);
    let manifest = match which {
        b'm' => document.to_owned(),
        _ => manifest(&config, &layer).to_string().into_bytes(),
    };
    let manifest = layout.blob(MANIFEST, manifest);
    let index = match which {
        b'i' => document.to_owned(),
        _ => json!({"schemaVersion": 2, "manifests": [manifest]}).to_string().into_bytes(),
    };
    archive(&layout.finish(index));
}

/// A layer, after a letter for its kind: `t`ar, `g`zip, `z`std. A tar's own digest is right, so that its end is reached.
pub(crate) fn layer(bytes: &[u8]) {
    let Some((which, layer)) = bytes.split_first() else { return };
    let kind = match which {
        b'g' => format!("{LAYER}+gzip"),
        b'z' => format!("{LAYER}+zstd"),
        _ => LAYER.to_owned(),
    };
    let mut layout = Layout::default();
    let layer = layout.blob(&kind, layer.to_owned());
    let config = layout.blob(CONFIG, config(&layer["digest"]).to_string().into_bytes());
    let manifest = layout.blob(MANIFEST, manifest(&config, &layer).to_string().into_bytes());
    archive(&layout.finish(json!({"schemaVersion": 2, "manifests": [manifest]}).to_string().into_bytes()));
}

fn config(diff_id: &Value) -> Value {
    json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
}

fn manifest(config: &Value, layer: &Value) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
}

/// The blobs of a layout, which becomes an archive.
#[derive(Default)]
struct Layout {
    files: Vec<(String, Vec<u8>)>,
}

impl Layout {
    fn blob(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes).to_string();
        let descriptor = json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
        self.files.push((format!("blobs/{}", digest.replace(':', "/")), bytes));
        descriptor
    }

    fn finish(mut self, index: Vec<u8>) -> Vec<u8> {
        self.files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        self.files.push(("index.json".to_owned(), index));
        let files: Vec<(&str, &[u8])> =
            self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        package::archive(&files)
    }
}
