//! The keys of the image.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::{
    Map,
    from::ImageFrom,
    scalar::{EnvName, Key, ModeText, OwnerText, Reason, Signal, SourceFile, UserName, Value},
};
use crate::{
    capability::Capabilities,
    spec::{AbsolutePath, Name, OutputRef, Port, User},
    yaml::At,
};

/// The image that comes out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the keys of an image")]
#[schemars(rename = "Image")]
pub(in crate::spec) struct ImageKeys {
    /// What it stands on: packages, or nothing.
    #[schemars(extend("x-example" = "from: {debian: trixie, packages: [libc6]}"))]
    pub(in crate::spec) from: At<ImageFrom>,
    /// Users that are added to `/etc/passwd`, each with a group of the same name.
    #[schemars(extend("x-example" = "users:\n  - {name: shop, uid: 1000}"))]
    #[serde(default)]
    pub(in crate::spec) users: Vec<At<UserKeys>>,
    /// What is copied into it, in this order.
    #[schemars(extend("x-example" = "copy:\n  - {output: build.dist, to: /app/dist}\n  - {source: site/public, to: /var/www/html, mode: 0644}"))]
    #[serde(default)]
    pub(in crate::spec) copy: Vec<At<CopyKeys>>,
    /// The program that always runs, with its first arguments.
    #[schemars(extend("x-example" = "entrypoint: [/usr/bin/shop, --config, /etc/shop.conf]"))]
    #[serde(default)]
    pub(in crate::spec) entrypoint: Option<At<Arguments>>,
    /// The arguments that whoever runs the image may replace; the program with its arguments where there is no entrypoint.
    #[schemars(extend("x-example" = "command: [serve]"))]
    #[serde(default)]
    pub(in crate::spec) command: Option<At<Arguments>>,
    /// The environment of the program.
    #[schemars(extend("x-example" = "env: {LANG: C.UTF-8, SHOP_VERSION: '${VERSION}'}"))]
    #[serde(default)]
    pub(in crate::spec) env: Map<EnvName, Value>,
    /// Who runs it: a user and perhaps a group, by number or name. Root needs `allow.root-user`.
    #[schemars(extend("x-example" = "user: 65532"))]
    #[serde(default)]
    pub(in crate::spec) user: Option<At<User>>,
    /// Where it runs: by default `/`.
    #[schemars(extend("x-example" = "workdir: /app"))]
    #[serde(default)]
    pub(in crate::spec) workdir: Option<At<AbsolutePath>>,
    /// The ports that it listens on.
    #[schemars(extend("x-example" = "ports: [8080, 5353/udp]"))]
    #[serde(default)]
    pub(in crate::spec) ports: Vec<At<Port>>,
    /// The paths that hold its data.
    #[schemars(extend("x-example" = "volumes: [/var/lib/shop]"))]
    #[serde(default)]
    pub(in crate::spec) volumes: Vec<At<AbsolutePath>>,
    /// Labels of the image's configuration.
    #[schemars(extend("x-example" = "labels: {org.opencontainers.image.version: '${VERSION}'}"))]
    #[serde(default)]
    pub(in crate::spec) labels: Map<Key, Value>,
    /// Annotations of the image's manifest.
    #[schemars(extend("x-example" = "annotations: {org.opencontainers.image.title: Shop}"))]
    #[serde(default)]
    pub(in crate::spec) annotations: Map<Key, Value>,
    /// The signal that ends it.
    #[schemars(extend("x-example" = "stop-signal: SIGQUIT"))]
    #[serde(default)]
    pub(in crate::spec) stop_signal: Option<Signal>,
    /// What it may have beyond the ordinary, each with a reason.
    #[schemars(extend("x-example" = "allow: {root-user: it binds port 80 of the host}"))]
    #[serde(default)]
    pub(in crate::spec) allow: AllowKeys,
    /// The most layers that it may have, from 1 to 120: by default 20.
    #[schemars(range(min = 1, max = 120), extend("x-example" = "layers: 8"))]
    #[serde(default)]
    pub(in crate::spec) layers: Option<At<u32>>,
    /// How its layers are compressed: `gzip`, which everything reads, or `zstd`.
    #[schemars(extend("x-example" = "compression: zstd"))]
    #[serde(default)]
    pub(in crate::spec) compression: Option<CompressionWord>,
}

/// A user that is added.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{name: shop, uid: 1000}`")]
#[schemars(rename = "UserEntry")]
pub(in crate::spec) struct UserKeys {
    /// The name of the user and its group.
    #[schemars(extend("x-example" = "name: shop"))]
    pub(in crate::spec) name: At<UserName>,
    /// The number of the user, from 1.
    #[schemars(extend("x-example" = "uid: 1000"))]
    pub(in crate::spec) uid: At<u32>,
    /// The number of the group: by default the user's.
    #[schemars(extend("x-example" = "gid: 1000"))]
    #[serde(default)]
    pub(in crate::spec) gid: Option<At<u32>>,
    /// The home directory, which is not made: by default `/nonexistent`.
    #[schemars(extend("x-example" = "home: /var/lib/shop"))]
    #[serde(default)]
    pub(in crate::spec) home: Option<At<AbsolutePath>>,
    /// The shell: by default `/usr/sbin/nologin`.
    #[schemars(extend("x-example" = "shell: /bin/sh"))]
    #[serde(default)]
    pub(in crate::spec) shell: Option<At<AbsolutePath>>,
}

/// Something that is copied into the image: an output of a stage (`output`) or a part of a source (`source`), one of both.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{output: build.dist, to: /app}`")]
#[schemars(rename = "Copy")]
pub(in crate::spec) struct CopyKeys {
    /// The output: STAGE.OUTPUT.
    #[schemars(extend("x-example" = "output: build.dist"))]
    #[serde(default)]
    pub(in crate::spec) output: Option<At<OutputRef>>,
    /// The source, or a file or folder of it: NAME or NAME/PATH.
    #[schemars(extend("x-example" = "source: site/public"))]
    #[serde(default)]
    pub(in crate::spec) source: Option<At<SourceFile>>,
    /// The path that it gets; not the folder that it goes into. What a folder holds goes beneath it.
    #[schemars(extend("x-example" = "to: /app/dist"))]
    pub(in crate::spec) to: At<AbsolutePath>,
    /// The layer that it goes into; copies with the same name share one. By default it is the last, the application's own.
    #[schemars(extend("x-example" = "layer: dependencies"))]
    #[serde(default)]
    pub(in crate::spec) layer: Option<At<Name>>,
    /// Who owns it and all beneath it: UID, UID:GID or a name of `users`. By default the owners stay.
    #[schemars(extend("x-example" = "owner: 65532"))]
    #[serde(default)]
    pub(in crate::spec) owner: Option<At<OwnerText>>,
    /// The permission bits of each file in it, in octal. By default they stay.
    #[schemars(extend("x-example" = "mode: 0644"))]
    #[serde(default)]
    pub(in crate::spec) mode: Option<ModeText>,
}

/// What an image may have beyond the ordinary. Each needs a reason, which goes into the provenance.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a map such as `{root-user: REASON}`")]
#[schemars(rename = "Allow")]
pub(in crate::spec) struct AllowKeys {
    /// It may run as root.
    #[schemars(extend("x-example" = "root-user: it binds port 80 of the host"))]
    #[serde(default)]
    pub(in crate::spec) root_user: Option<At<Reason>>,
    /// It may have a compiler or the like in it.
    #[schemars(extend("x-example" = "toolchain: it compiles what users upload"))]
    #[serde(default)]
    pub(in crate::spec) toolchain: Option<At<Reason>>,
    /// The files that keep their set-user-id and set-group-id bits, each with the reason. Others lose them.
    #[schemars(extend("x-example" = "setuid: {/usr/bin/ping: users ping their hosts}"))]
    #[serde(default)]
    pub(in crate::spec) setuid: Map<AbsolutePath, Reason>,
    /// The files that get capabilities, each with what `setcap` would be told, and the reason. Others have none, also where a
    /// package's script or a step asks for them.
    #[schemars(extend("x-example" = "capabilities: {/usr/bin/ping: {grant: cap_net_raw+ep, reason: users ping their hosts}}"))]
    #[serde(default)]
    pub(in crate::spec) capabilities: Map<AbsolutePath, GrantKeys>,
}

/// What a file may do beyond the rights of its user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a map such as `{grant: cap_net_raw+ep, reason: REASON}`"
)]
#[schemars(rename = "Grant")]
pub(in crate::spec) struct GrantKeys {
    /// The capabilities: names, `+` or `=`, and the flags, as for `setcap`.
    #[schemars(extend("x-example" = "grant: cap_net_raw+ep"))]
    pub(in crate::spec) grant: Capabilities,
    /// Why the file needs them.
    #[schemars(extend("x-example" = "reason: users ping their hosts"))]
    pub(in crate::spec) reason: Reason,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Compression")]
pub(in crate::spec) enum CompressionWord {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// A program and its arguments, or arguments alone.
#[derive(Debug, Clone, JsonSchema)]
pub(in crate::spec) struct Arguments(pub(in crate::spec) Vec<At<Value>>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Arguments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of arguments")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Arguments, E> {
                let simple = |c: char| c.is_ascii_alphanumeric() || " ./-_=+:@".contains(c);
                let words: Vec<&str> = text.split_whitespace().collect();
                let list = match text.chars().all(simple) {
                    true => words.join(", "),
                    false => "/bin/sh, -c, '…'".to_owned(),
                };
                Err(E::custom(format!(
                    "a list of arguments is needed here, not a text\nno shell takes it apart: write `[{list}]`"
                )))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Arguments, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(Arguments)
            }
        }

        deserializer.deserialize_any(List)
    }
}
