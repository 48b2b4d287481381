//! `bulla inspect`: what an image is made of.

use std::path::PathBuf;

use bulla_build::inspect::{self, Entry, Image, Layer, Limits, What};
use bulla_model::{Platform, oci, path::printable};
use clap::Args;
use serde::Serialize;

use crate::{error::Result, neutral, report, session::Session, terminal};

const EXAMPLES: &str = "\
Examples:
  bulla inspect                    the image of this project
  bulla inspect --files            … with every file
  bulla inspect shop.oci.tar       an oci-archive, by whomever it was made
  bulla inspect --json | jq .      for programs: one JSON object an image";

/// List an image's layers, their sizes, and where their files come from
///
/// Reads OCI layouts and oci-archives, also those of other programs. Every digest is checked, and nothing is unpacked.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The OCI layout folder or oci-archive [default: bulla-out in the project's folder]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Show the image for this platform alone: linux/amd64 or linux/arm64 [default: each]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// List the files of each layer
    #[arg(long)]
    files: bool,

    /// Write JSON, one object an image
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let path = options.path.clone().unwrap_or_else(|| session.project().join("bulla-out"));
    let mut images = inspect::inspect(&path, options.files, &Limits::default())?;
    if let Some(platform) = options.platform {
        let is_meant = |image: &Image| image.config.os == platform.os();
        images.retain(|image| is_meant(image) && image.config.architecture == platform.architecture());
    }
    if images.is_empty() {
        session.say(&format!("{} holds no image.", path.display()));
    }
    for image in &images {
        let text = if options.json { report::json_line(&Document::of(image)) } else { text(image) };
        session.print(&text)?;
    }
    Ok(())
}

fn text(image: &Image) -> String {
    let config = &image.config;
    let names: Vec<_> = image.names.iter().map(|name| neutral::line(name)).collect();
    let mut out = format!("{}\n", image.digest);
    let mut say = |key: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {key:<12}{}\n", neutral::line(value)));
        }
    };
    let run = &config.config;
    say("names", &names.join(", "));
    say("platform", &format!("{}/{}", config.os, config.architecture));
    say("created", config.created.as_deref().unwrap_or_default());
    say("entrypoint", &run.entrypoint.join(" "));
    say("command", &run.cmd.join(" "));
    say("user", &run.user);
    say("directory", &run.working_dir);
    say("manifest", &image.manifest.digest.to_string());
    say("config", &image.config_digest.to_string());
    let of = |key: &str| image.annotations.get(key).map(String::as_str).unwrap_or_default();
    say("base", [of(oci::BASE_NAME), of(oci::BASE_DIGEST)].join(" ").trim());
    let total = image.layers.iter().map(|layer| layer.descriptor.size).sum();
    let count = image.layers.len();
    say("layers", &format!("{count}, {} compressed", terminal::bytes(total)));
    for (number, layer) in image.layers.iter().enumerate() {
        out.push_str(&layer_text(number + 1, layer));
    }
    out
}

fn layer_text(number: usize, layer: &Layer) -> String {
    let title = layer.title.as_deref().or(layer.created_by.as_deref()).unwrap_or("");
    let size = terminal::bytes(layer.descriptor.size);
    let mut out = format!("\n{number:>3}  {size:>8}  {}  {}\n", layer.descriptor.digest, neutral::line(title));
    for origin in &layer.origins {
        out.push_str(&format!("      from {}\n", neutral::line(origin)));
    }
    for entry in layer.listing.iter().flat_map(|listing| &listing.entries) {
        out.push_str(&format!("      {}\n", entry_text(entry)));
    }
    out
}

fn entry_text(entry: &Entry) -> String {
    let (kind, size, target) = match &entry.what {
        What::Directory => ('d', String::new(), None),
        What::File(size) => ('-', terminal::bytes(*size), None),
        What::Symlink(target) => ('l', String::new(), Some((" → ", target))),
        What::Hardlink(target) => ('h', String::new(), Some((" = ", target))),
        What::Whiteout => ('w', String::new(), None),
        What::Opaque => ('o', String::new(), None),
        What::Special => ('s', String::new(), None),
    };
    let target = target.map(|(arrow, target)| format!("{arrow}{}", printable(target))).unwrap_or_default();
    let owner = format!("{}:{}", entry.uid, entry.gid);
    let more: Vec<&str> = entry.capabilities.iter().chain(&entry.attributes).map(String::as_str).collect();
    let more = if more.is_empty() { String::new() } else { format!("  [{}]", neutral::line(&more.join(", "))) };
    format!("{kind} {:04o} {owner:>11} {size:>8}  /{}{target}{more}", entry.mode, entry.path)
}

/// An image as programs read it.
#[derive(Serialize)]
struct Document<'a> {
    digest: String,
    names: &'a [String],
    platform: String,
    manifest_digest: String,
    config_digest: String,
    annotations: &'a bulla_model::oci::Annotations,
    config: &'a bulla_model::oci::ImageConfig,
    layers: Vec<LayerDocument<'a>>,
}

#[derive(Serialize)]
struct LayerDocument<'a> {
    digest: String,
    diff_id: String,
    size: u64,
    media_type: &'a str,
    title: Option<&'a str>,
    created_by: Option<&'a str>,
    origins: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<EntryDocument>>,
}

#[derive(Serialize)]
struct EntryDocument {
    path: String,
    kind: &'static str,
    mode: String,
    uid: u64,
    gid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<String>,
}

impl<'a> Document<'a> {
    fn of(image: &'a Image) -> Self {
        Self {
            digest: image.digest.to_string(),
            names: &image.names,
            platform: format!("{}/{}", image.config.os, image.config.architecture),
            manifest_digest: image.manifest.digest.to_string(),
            config_digest: image.config_digest.to_string(),
            annotations: &image.annotations,
            config: &image.config,
            layers: image.layers.iter().map(LayerDocument::of).collect(),
        }
    }
}

impl<'a> LayerDocument<'a> {
    fn of(layer: &'a Layer) -> Self {
        Self {
            digest: layer.descriptor.digest.to_string(),
            diff_id: layer.diff_id.to_string(),
            size: layer.descriptor.size,
            media_type: &layer.descriptor.media_type,
            title: layer.title.as_deref(),
            created_by: layer.created_by.as_deref(),
            origins: &layer.origins,
            files: layer.listing.as_ref().map(|listing| listing.entries.iter().map(EntryDocument::of).collect()),
        }
    }
}

impl EntryDocument {
    fn of(entry: &Entry) -> Self {
        let (kind, size, target) = match &entry.what {
            What::Directory => ("directory", None, None),
            What::File(size) => ("file", Some(*size), None),
            What::Symlink(target) => ("symlink", None, Some(printable(target))),
            What::Hardlink(target) => ("hardlink", None, Some(printable(target))),
            What::Whiteout => ("whiteout", None, None),
            What::Opaque => ("opaque", None, None),
            What::Special => ("special", None, None),
        };
        let (path, mode) = (entry.path.to_string(), format!("{:04o}", entry.mode));
        let (capabilities, attributes) = (entry.capabilities.clone(), entry.attributes.clone());
        Self { path, kind, mode, uid: entry.uid, gid: entry.gid, size, target, capabilities, attributes }
    }
}
