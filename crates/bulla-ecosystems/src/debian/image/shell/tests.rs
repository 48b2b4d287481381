use bulla_model::{CleanPath, Tree, tree::Node};
use proptest::prelude::*;

use super::*;
use crate::debian::{
    deb::{Control, Package},
    image::{
        accounts::{Primary, SystemUser},
        alternatives::Alternative,
        effect::Effect,
        mode::Changes,
        overlay::{Overlay, clean},
    },
};

/// The questions of the package that is rehearsed.
const TEMPLATES: &str = "Template: web/mode\nType: string\nDefault: fast\n\nTemplate: web/none\nType: string\n";

fn package(config: Option<&str>) -> Package {
    let control = Control::parse("Package: web\nVersion: 1\nArchitecture: amd64\n").expect("a control file");
    let members = [("templates", Some(TEMPLATES)), ("config", config)];
    let members =
        members.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.as_bytes().to_vec()))).collect();
    Package { control, members, paths: Vec::new(), newest: bulla_model::Epoch::default() }
}

fn follow(script: &'static str, text: &str) -> Result<Vec<Effect>, String> {
    follow_with(None, script, text)
}

fn follow_with(config: Option<&str>, script: &'static str, text: &str) -> Result<Vec<Effect>, String> {
    let mut tree = Tree::new();
    tree.insert(clean("etc/web/web.conf"), Node::file(0o644, bulla_model::Digest::of(b""), 0));
    tree.insert(clean("usr/bin/tool"), Node::file(0o755, bulla_model::Digest::of(b"x"), 1));
    tree.insert(clean("usr/bin/kept"), Node::file(0o755, bulla_model::Digest::of(b"x"), 1));
    tree.insert(clean("etc/web/link"), Node::symlink("web.conf"));
    for folder in ["var/log", "var/lib", "etc/web/conf.d", "run"] {
        tree.insert(clean(folder), Node::directory(0o755));
    }
    tree.complete();
    let read = |_: &CleanPath| Some(Vec::new());
    let overlay = Overlay::new(&tree, &read);
    let package = package(config);
    let text = if text.starts_with("#!") { text.to_owned() } else { format!("#!/bin/sh\n{text}") };
    let keep_set_id = [clean("usr/bin/kept")].into();
    rehearse(&Installation { overlay: &overlay, package: &package, script, keep_set_id: &keep_set_id }, &text)
}

fn postinst(text: &str) -> Result<Vec<Effect>, String> {
    follow("postinst", text)
}

#[test]
fn only_the_way_of_a_first_installation_counts() {
    let text = "#!/bin/sh\nset -e\ncase \"$1\" in\n  configure)\n    if [ -n \"$2\" ]; then wipe-disk; fi\n    ;;\n\
                abort-*|triggered) burn ;;\n*) echo \"unknown \\`$1'\" >&2; exit 1 ;;\nesac\nexit 0\nafter\n";
    assert_eq!(postinst(text), Ok(Vec::new()));
    let text = "if [ \"$1\" = upgrade ] && dpkg --compare-versions \"$2\" lt 3; then burn; fi";
    assert_eq!(follow("preinst", text), Ok(Vec::new()));
}

#[test]
fn functions_and_variables_lead_to_effects() {
    let text = "#!/bin/sh\nset -eu\nUSER=web\nsetup () {\n  DIR=${1}\n  mkdir -p ${DIR}\n  if ! dpkg-statoverride --list \
                ${DIR} >/dev/null 2>&1\n  then\n    chown ${USER}:${3} ${DIR}\n    chmod ${2} ${DIR}\n  fi\n}\n\
                adduser --system --home /var/lib/web --no-create-home --quiet --group ${USER} || true\nsetup /var/log/web 2750 adm\n";
    let mut user = SystemUser::new("web");
    (user.primary, user.home) = (Primary::Own, "/var/lib/web".to_owned());
    let path = || "/var/log/web".to_owned();
    let wanted = vec![
        Effect::User(user),
        Effect::Directory { path: path(), mode: 0o755 },
        Effect::Owner { path: path(), user: Some("web".into()), group: Some("adm".into()) },
        Effect::Mode { path: path(), mode: 0o2750 },
    ];
    assert_eq!(postinst(text), Ok(wanted));
}

#[test]
fn computed_alternatives_are_read() {
    let text = "base=/usr/lib/jvm\nfor i in java keytool; do\n  unset slave || true\n  slave=\"--slave /m/$i $i.1 $base/$i.1\"\n  \
                update-alternatives --install /usr/bin/$i \\\n   $i $base/bin/$i 10 $slave\ndone";
    let effects = postinst(text).expect("two calls");
    let names: Vec<_> = effects.iter().filter_map(Effect::alternative).map(|call| call.master.name.as_str()).collect();
    assert_eq!(names, ["java", "keytool"]);
    let words = "--install /usr/bin/java java /usr/lib/jvm/bin/java 10 --slave /m/java java.1 /usr/lib/jvm/java.1";
    let call = Alternative::parse(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(effects.first().and_then(Effect::alternative), call.as_ref());
}

#[test]
fn here_documents_and_appended_lines_become_files() {
    let text = "NAME=web\nif [ ! -e /etc/web/made ]; then\ncat > /etc/web/made <<EOF\n# $NAME\nEOF\necho x >> /etc/web/made\nfi\n\
                cat <<-'END' >/dev/null\n\t$NOT\n\tEND\n";
    let file = |content: &[u8]| Effect::File { path: "/etc/web/made".into(), content: content.to_vec() };
    assert_eq!(postinst(text), Ok(vec![file(b"# web\n"), file(b"# web\nx\n")]));
}

#[test]
fn questions_have_the_answers_of_the_templates() {
    let text = ". /usr/share/debconf/confmodule\ndb_get web/mode\nif [ \"$RET\" = fast ]; then touch /etc/fast; fi";
    assert_eq!(postinst(text), Ok(vec![Effect::File { path: "/etc/fast".into(), content: Vec::new() }]));
    assert!(postinst("db_get web/other").expect_err("no template").contains("web/other"));
}

/// As fontconfig-config has it: `config` looks how things are, and lets the `postinst` make them so.
#[test]
fn questions_have_the_answers_of_the_config_that_is_called_first() {
    let postinst = "set -e\n. /usr/share/debconf/confmodule\ntouch /etc/web/made\ndb_get web/mode\ntouch /etc/$RET\n\
                    db_set web/mode own\ndb_get web/mode\ntouch /etc/$RET";
    let answers = |config: &str| {
        let effects = follow_with(Some(&format!("#!/bin/sh\nset -e\n{config}")), "postinst", postinst)?;
        let path = |effect: &Effect| match effect {
            Effect::File { path, .. } => path.clone(),
            other => format!("{other:?}"),
        };
        Ok::<_, String>(effects.iter().map(path).collect::<Vec<_>>().join(" "))
    };
    let config = "mode=slow\nif [ -h /etc/web/link ]; then mode=linked; fi\nif [ -e /etc/web/made ]; then mode=late; fi\n\
                  db_set web/mode $mode\ndb_input low web/mode || true\ndb_go || true";
    assert_eq!(answers(config).as_deref(), Ok("/etc/web/made /etc/linked /etc/own"));
    // What it sets by the answer that it has itself.
    let config = "db_get web/mode\nif [ $RET = fast ]; then db_set web/mode faster; fi";
    assert_eq!(answers(config).as_deref(), Ok("/etc/web/made /etc/faster /etc/own"));
    // Nobody can be asked.
    assert_eq!(
        answers("if db_input high web/mode; then db_set web/mode asked; fi").as_deref(),
        Ok("/etc/web/made /etc/fast /etc/own")
    );
    // One that sets nothing may do what is not known.
    assert_eq!(answers("hostname -f").as_deref(), Ok("/etc/web/made /etc/fast /etc/own"));
    for (config, reason) in [
        ("db_set web/mode $(hostname)", "it works with the output of `hostname`"),
        ("db_input low web/mode\ndb_set web/mode x", "`db_input low web/mode` would fail"),
        ("db_set web/mode x\ntouch /etc/x", "it changes files"),
    ] {
        let refused = answers(config).expect_err("it is not known");
        assert_eq!(
            refused,
            format!("it asks `web/mode`, which the package's `config` may answer, of which nothing is known: {reason}")
        );
    }
    let perl = follow_with(Some("#!/usr/bin/perl\nset('web/mode', 'x');"), "postinst", postinst);
    assert!(perl.expect_err("it is not known").ends_with("it is no script of a shell: `#!/usr/bin/perl`"));
}

#[test]
fn what_has_no_equivalent_is_refused_with_its_words() {
    for (text, reason) in [
        ("initdb /var/lib/web", "it calls `initdb /var/lib/web`"),
        ("rm -f /etc/web/web.conf", "it removes `/etc/web/web.conf`"),
        ("while read x; do :; done", "it has a `while` loop"),
        ("x=$(date)", "it works with the output of `date`"),
        ("ls | sort", "it works with the output of `ls`"),
        ("rm -f /var/cache/*", "it looks for files with the pattern `/var/cache/*`"),
        ("echo x >> /etc/web/web.conf", "it appends to `/etc/web/web.conf`"),
        ("chown -R web /etc/web", "it calls `chown` for all that is in `/etc/web`"),
        ("mkdir -p relative", "it changes `relative`, which is no plain absolute path"),
        ("mkdir -p /etc/../../x", "it changes `/etc/../../x`, which is no plain absolute path"),
        ("daemon &", "it runs something in the background"),
        ("exit 1", "it would fail"),
        ("set -e\nfalse", "`false` would fail"),
        ("x=$((1+1))", "it computes `$((1+1))`"),
        (". /etc/web/web.conf", "it calls `. /etc/web/web.conf`"),
        ("#!/usr/bin/perl\nexit 0;", "it is no script of a shell: `#!/usr/bin/perl`"),
        ("setcap cap_net_rwa+ep /usr/bin/tool", "it gives capabilities: there is no capability `cap_net_rwa`"),
        ("setcap -r /usr/bin/tool", "it calls `setcap -r /usr/bin/tool`"),
        ("set -e\nsetcap cap_net_raw+ep /usr/bin/x", "`setcap cap_net_raw+ep /usr/bin/x` would fail"),
        ("chmod u+X /usr/bin/tool", "it sets the mode `u+X`"),
        ("chmod g+s /var/lib", "it sets the mode `g+s` of the directory `/var/lib`"),
        ("dpkg-divert --add /usr/bin/tool", "it calls `dpkg-divert --add /usr/bin/tool`"),
        ("if true; then", "it cannot be read: `fi` is missing"),
        ("f() { f; }; f", "its functions call each other too deeply"),
    ] {
        assert_eq!(postinst(text), Err(reason.to_owned()), "{text}");
    }
}

/// As the scripts of iputils-ping, mtr-tiny and wireshark-common have it.
#[test]
fn capabilities_are_noted_and_set_id_bits_are_the_way_out_where_the_spec_keeps_them() {
    let text = |program: &str| {
        format!(
            "set -e\nPROGRAM=$(dpkg-divert --truename {program})\nif [ \"$1\" = configure ]; then\n\
             if command -v setcap >/dev/null; then\n  if setcap cap_net_raw+ep $PROGRAM; then\n    chmod u-s $PROGRAM\n\
             else\n    echo failed >&2\n    chmod u=rwxs,g=rx,o=r $PROGRAM\n  fi\nelse\n  chmod u+s $PROGRAM\nfi\nfi\n"
        )
    };
    let change = |path: &str, words| Effect::Change { path: path.into(), changes: Changes::parse(words).expect(words) };
    let capabilities = bulla_model::Capabilities::parse("cap_net_raw=ep").expect("capabilities");
    let path = "/usr/bin/tool";
    assert_eq!(
        postinst(&text(path)),
        Ok(vec![Effect::Capabilities { path: path.into(), capabilities }, change(path, "u-s")])
    );
    assert_eq!(postinst(&text("/usr/bin/kept")), Ok(vec![change("/usr/bin/kept", "u=rwxs,g=rx,o=r")]));
}

/// Each of these once made it note something else than a shell would have done.
#[test]
fn what_would_be_noted_wrongly_is_refused() {
    for (text, reason) in [
        // The state of the shell.
        ("trap 'touch /etc/x' EXIT", "it does something at its end"),
        ("umask 077; touch /etc/x", "it calls `umask 077`"),
        ("IFS=:; a=x:y; mkdir -p /$a", "it sets `IFS`"),
        ("PATH=/opt/bin:$PATH", "it sets `PATH`"),
        ("readonly a=/x; a=/y; mkdir $a", "it sets `a`"),
        ("a=/x export b", "it assigns `a` for `export`"),
        ("f() { mkdir /$a; }; a=x f", "it assigns `a` for `f`"),
        ("exit() { :; }; exit 1", "it has a function `exit`"),
        ("break 2", "it calls `break 2`"),
        ("shift 3", "it shifts more arguments than there are"),
        ("set -e; x=$(false); mkdir /x", "`false` would fail"),
        ("mkdir $HOME/x", "it uses `$HOME`"),
        ("mkdir /x/$RANDOM", "it uses `$RANDOM`"),
        ("unset IFS", "it unsets `IFS`"),
        ("local a=b", "it has `local` outside of a function"),
        ("for i in a b; do (break); done", "it leaves a loop from inside a subshell"),
        // Words.
        ("mkdir /x/[ab]", "it looks for files with the pattern `/x/[ab]`"),
        ("a='[ab]'; mkdir /x/$a", "it looks for files with the pattern `[ab]`"),
        ("a=~web; mkdir $a", "it looks for the home directory `~web`"),
        ("#!/bin/bash\nmkdir /var/{lib,log}/x", "it has alternatives in `/var/{lib,log}/x`"),
        ("mkdir ${a:-\"/x y\"}", "it has a quoted blank in an unquoted `${`"),
        ("mkdir /x${a#'b'}", "it cannot be read: `${` with a single quote"),
        ("mkdir /$'x'", "it cannot be read: `$` before a quote"),
        ("x=`echo \\`echo /x\\``", "it cannot be read: it has a backslash in backquotes"),
        ("x=`true ) touch /etc/x`", "it cannot be read: backquotes with something else than commands"),
        ("(true) touch /etc/x", "it cannot be read: `touch` follows a command"),
        ("set -- a b; mkdir /x", "it sets `--`"),
        ("echo a 10>/etc/x", "it cannot be read: it opens the file number 10"),
        ("true\r\n", "it calls `true\\r`"),
        // Files.
        ("cd /etc; [ -e web ] || touch /etc/x", "it looks at `web`, which is no plain absolute path"),
        ("[ -e /etc/../etc ] || touch /etc/x", "it looks at `/etc/../etc`, which is no plain absolute path"),
        ("echo x >&/etc/x", "it reads from or writes to `/etc/x`"),
        ("echo x >/dev/../etc/x", "it reads from or writes to `/dev/../etc/x`"),
        ("echo x >/dev/shm/x", "it reads from or writes to `/dev/shm/x`"),
        ("echo x >/etc/a >/etc/b", "it makes the file `/etc/a` by the way"),
        ("echo x >/etc/web/link", "it writes through the link `/etc/web/link`"),
        ("ln -s /nowhere /etc/x; [ -e /etc/x ] && mkdir /y", "it looks at where its own link `/etc/x` leads"),
        ("ln -s /var/lib /etc/x; mkdir /etc/x/y", "it looks at `/etc/x/y` through its own link `/etc/x`"),
        ("printf '%s-%s' a b >/etc/x", "it writes what `printf` says to `/etc/x`"),
        ("echo 'a\\nb' >/etc/x", "it writes `a\\\\nb` by `echo`"),
        ("echo -e x >/etc/x", "it writes `-e x` by `echo`"),
        ("chown -Rf web /etc/web", "it calls `chown` for all that is in `/etc/web`"),
        ("chown --from=root web /etc/web/web.conf", "it calls `chown` with `--from`"),
        ("chown -h web /etc/web/link", "it calls `chown` for the link `/etc/web/link`"),
        ("chown web: /etc/web/web.conf", "it wants the group of `web`"),
        ("mkdir -p /x; touch /x/y; chown -R web /x", "it calls `chown` for all that is in `/x`"),
        ("cp /usr/bin/tool /etc/web/web.conf", "it copies over `/etc/web/web.conf`"),
        ("touch /etc/x; [ -s /etc/x ] && mkdir /y", "it looks whether its own file `/etc/x` is empty"),
        // Accounts, questions and services.
        ("useradd -r -K UID_MIN=5 web", "it calls `useradd` with `-K`"),
        ("adduser --system --uid many web", "it gives an account a number that is none"),
        ("addgroup web", "it makes the group `web`, which is not one of the system"),
        ("usermod -s /bin/sh -G adm web", "it calls `usermod` with `-s`"),
        ("getent hosts x && mkdir /x", "it calls `getent hosts x`"),
        ("id 33 && mkdir /x", "it asks who has the number `33`"),
        ("systemctl is-active x && mkdir /x", "it calls `systemctl is-active x`"),
        ("db_input low web/mode; mkdir /x/$RET", "it uses `$RET`"),
        ("update-alternatives --list x || mkdir /x", "it calls `update-alternatives --list x`"),
        ("[ a == a ] && mkdir /x", "it compares by `==`"),
    ] {
        assert_eq!(postinst(text), Err(reason.to_owned()), "{text}");
    }
}

#[test]
fn what_was_noted_wrongly_is_noted_as_a_shell_does_it() {
    let made = |path: &str| Effect::Directory { path: path.to_owned(), mode: 0o755 };
    for (text, wanted) in [
        ("a=/x; a=/y mkdir $a; mkdir -p /z$a", vec![made("/x"), made("/z/x")]),
        ("false; if [ $? -ne 0 ]; then mkdir /x; fi", vec![made("/x")]),
        ("a=$(false) || mkdir /x", vec![made("/x")]),
        ("f() { local a=/y; mkdir $a; }; a=/x; f; mkdir $a", vec![made("/y"), made("/x")]),
        ("f() { (return 0); mkdir /x; }; f", vec![made("/x")]),
        ("(set -e; shift; f() { false; }); f() { mkdir /x; }; [ $# = 2 ] && f", vec![made("/x")]),
        ("a=$(echo lost >&2; echo lost >/dev/null; echo kept); mkdir /$a", vec![made("/kept")]),
        ("f() { echo x; }; a=$(f >&2); [ -z \"$a\" ] && mkdir /x", vec![made("/x")]),
        ("f() { mkdir /$#; }; f $@", vec![made("/1")]),
        ("shift 2; mkdir /$#", vec![made("/0")]),
        ("[ -x /etc/web/web.conf ] || mkdir /x; [ -x /usr/bin/tool ] && mkdir /y", vec![made("/x"), made("/y")]),
        ("[ -s /etc/web/web.conf ] || mkdir /x; [ -s /usr/bin/tool ] && mkdir /y", vec![made("/x"), made("/y")]),
        ("mkdir /a/b || mkdir /x", vec![made("/x")]),
        ("mkdir -p /etc/web/web.conf || mkdir /x", vec![made("/x")]),
        ("echo x >/a/b || mkdir /x", vec![made("/x")]),
        ("touch -c /etc/x", Vec::new()),
        ("cp -n /usr/bin/tool /etc/web/web.conf", Vec::new()),
        ("getent passwd www-data >/dev/null && id games && getent group adm && mkdir /x", vec![made("/x")]),
        ("dpkg --compare-versions $2 lt 3 && mkdir /x", Vec::new()),
        ("true </dev/null >/dev/null 2>&1; trap - EXIT; trap 'exit 1' INT; umask 0022", Vec::new()),
    ] {
        assert_eq!(postinst(text), Ok(wanted), "{text}");
    }
    let text = "cat >/etc/x <<EOF\nsays \\\"x\\\" and \\$y\nEOF\n";
    let content = b"says \\\"x\\\" and $y\n".to_vec();
    assert_eq!(postinst(text), Ok(vec![Effect::File { path: "/etc/x".into(), content }]));
    let text = "ln -sfn /a /etc/web/conf.d; ln -s /b/ /etc/web/conf.d; ln -sf /c /etc/web/link";
    let link = |path: &str, target: &str| Effect::Symlink { path: path.into(), target: target.into() };
    let links = [link("/etc/web/conf.d/a", "/a"), link("/etc/web/conf.d/b", "/b/"), link("/etc/web/link", "/c")];
    assert_eq!(postinst(text), Ok(links.to_vec()));
    let text = "db_set web/mode slow; db_get web/mode; [ $RET = slow ] && mkdir /x";
    assert_eq!(postinst(text), Ok(vec![made("/x")]));
    let text = "useradd -r web; adduser --system --group own; mkdir /x; chown own: /x";
    let effects = postinst(text).expect("noted");
    let Some(Effect::User(user)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!((user.home.as_str(), user.shell.as_str()), ("/home/web", "/bin/sh"));
    let owner = Effect::Owner { path: "/x".into(), user: Some("own".into()), group: Some("own".into()) };
    assert_eq!(effects.last(), Some(&owner));
}

#[test]
fn parameters_are_cut_and_have_defaults() {
    let text = "a=/usr/lib/x.tar.gz\n[ ${a#*/} = usr/lib/x.tar.gz ]\n[ ${a##*/} = x.tar.gz ]\n[ ${a%.*} = /usr/lib/x.tar ]\n\
                [ ${a%%.*} = /usr/lib/x ]\n[ \"${b:-c d}\" = 'c d' ]\n[ -z \"${b+x}\" ]\n[ \"${a:+x}\" = x ]\n: ${b:=e}\n[ $b = e ]\n";
    assert_eq!(postinst(&format!("set -e\n{text}")), Ok(Vec::new()));
}

#[test]
fn large_and_deep_scripts_end_in_time() {
    let long = "a=aaaaaaaaaaaaaaaa\n".to_owned() + &"a=$a$a\n".repeat(40);
    let deep = "if true; then ".repeat(5000);
    let nested = "$(".repeat(5000);
    let joined = "true && ".repeat(50_000) + "true";
    let not = "! ".repeat(50_000) + "true";
    let test = format!("[ {} ]", "! ".repeat(9000));
    let loops = "for a in 1 2 3 4 5 6 7 8 9; do ".repeat(8) + "true" + &"; done".repeat(8);
    let many: String = (0..2000).map(|n| format!("v{n}=x\n")).collect();
    let calls = "f() { f; f; }\nf".to_owned();
    let documents = "cat <<E\nE\n".repeat(1000);
    for text in [long, deep, nested, joined, not, test, loops, many, calls, documents, "a".repeat(1 << 20)] {
        assert!(postinst(&text).is_err(), "{}", text.chars().take(60).collect::<String>());
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = postinst(&text);
    }

    #[test]
    fn no_script_makes_it_panic(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "if", "then", "else", "fi", "case", "in", "esac", "for", "do", "done", "{", "}", "(", ")", "f()", ";", ";;", "\n", "&&",
            "||", "|", "&", "!", "$(", "`", "\"", "'", "${a", "${a#", "}", "$((", "))", "$@", "\"$1\"", "a=", "b", "<<E", "\nE\n", ">",
            ">>", "2>&1", "[", "]", "-o", "-a", "test", "echo", "mkdir", "-p", "/x", "/..", "chown", "a:b", "ln", "-s", "adduser",
            "--system", "--home", "set", "-e", "\\", "#", "*", "exit", "shift", "printf", "command", "-v", "dpkg", "--",
        ]), 0..40)
    ) {
        let _ = postinst(&words.join(" "));
    }
}
