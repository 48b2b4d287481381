//! The reference of the workspace for people (`docs/workspace.md`), made from the schema.

use super::{
    Workspace,
    written::{ReleaseKeys, SettingKeys, StoreKeys, WaiverKeys, WorkspaceKeys},
};
use crate::spec::{
    reference::{Section, keys, write},
    schema::schema,
    written::LimitKeys,
};

/// What the reference begins with.
const HEAD: &str = "\
# The workspace: `bulla.workspace.yaml`

*Made from the program's types. The same as a JSON schema: [bulla.workspace.schema.json](bulla.workspace.schema.json); an editor
uses it with `# yaml-language-server: $schema=PATH` in the first line.*

```yaml
bulla: 1
members: [services/*, tools/builder]
settings:
  on-refusal: fail
  limits: {memory: 4GiB, time: 30m}
  debian:
    trixie: {suites: [trixie, trixie-security]}
  forbid: [root-user, unsigned]
waivers:
  - member: services/legacy
    setting: root-user
    reason: it binds port 80 until the proxy is there
    until: 2026-12-31
store: {remote: oci://registry.example/team/bulla, write-from: [main]}
```

How it is used:

- Each member is a project of its own: a folder with a `bulla.yaml`, its `bulla.lock` beside it, and its output in it.
- In the folder of `bulla.workspace.yaml`, `bulla build`, `bulla lock` and `bulla check` are for all members, or for those that are
  named: `bulla build services/shop`. `bulla build --since main` builds those that a change since `main` affects.
- Within a member the commands are for that member. It inherits the same there: the file is looked for upwards, to the top of the git
  checkout; outside of a checkout, to the border of the file system. It has to belong to who owns the spec, to you, or to root.
- A setting is what a member has where its `bulla.yaml` says nothing, and a bound: it may be stricter. What is looser is a mistake at its
  line, unless a waiver names the member and the setting and its last day is not over. Settings are a part of the spec as it is
  evaluated, and so of what steps are; a waiver decides only whether a spec is good.
- `store` names the remote store of the team, for those who permit it: the file may be a stranger's, so nothing is asked of that place until
  [your own configuration](configuration.md#stores-of-others) permits it. It is no part of what is built.
- The file is read as a [spec](spec.md) is: the same YAML, the same limits, errors with their lines. Workspaces do not lie in one another.

";

/// The structs of the workspace in the order of the reference.
fn sections() -> [Section; 6] {
    [
        ("", "The whole file", keys::<WorkspaceKeys>()),
        ("Settings", "`settings`", keys::<SettingKeys>()),
        ("Limits", "`settings.limits`", keys::<LimitKeys>()),
        ("AllowedRelease", "`settings.debian.CODENAME`", keys::<ReleaseKeys>()),
        ("Waiver", "`waivers`", keys::<WaiverKeys>()),
        ("WorkspaceStore", "`store`", keys::<StoreKeys>()),
    ]
}

impl Workspace {
    /// Gives the reference of `bulla.workspace.yaml` in Markdown.
    pub fn reference() -> String {
        write(HEAD, &sections(), &schema::<WorkspaceKeys>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_every_struct_of_the_schema_and_a_workspace_that_is_one() {
        let schema = schema::<WorkspaceKeys>();
        let structs =
            schema["$defs"].as_object().into_iter().flatten().filter(|(_, def)| def.get("properties").is_some());
        for (name, _) in structs {
            assert!(sections().iter().any(|(section, ..)| section == name), "{name} is not in the reference");
        }
        let example = HEAD.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n")).expect("an example");
        assert!(Workspace::parse("workspace.md", example).is_ok());
    }
}
