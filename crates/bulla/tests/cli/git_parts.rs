//! Submodules, repositories that are reached by SSH, and what Git LFS keeps elsewhere.

use std::sync::{Arc, Mutex};

use bulla_model::Digest;
use bulla_testkit::{
    GitServer, Project, TestEnvironment,
    git::{GitAsked, GitSaid, has_git},
    process::{self, Background},
    skipped,
};

use crate::git::{World, listing, project, shop, unpack};

#[test]
fn submodules_are_checked_out_where_the_spec_says_so_and_each_is_pinned() {
    let Some(world) = World::new("submodules") else { return };
    let (inner, lib, repo) = (world.repo("inner"), world.repo("lib"), world.repo("shop"));
    inner.write("deepest", "deepest\n");
    let deepest = inner.commit("inner");
    lib.write("lib.c", "int lib;\n");
    lib.git(&["submodule", "add", "-q", &format!("{}/inner", world.server.url()), "in"]);
    let middle = lib.commit("lib");
    repo.write("hello", "hello\n");
    repo.git(&["submodule", "add", "-q", "--name", "the lib", &format!("{}/lib", world.server.url()), "vendor/lib"]);
    // Beside the repository itself.
    repo.git(&["config", "-f", ".gitmodules", "submodule.the lib.url", "../lib"]);
    let top = repo.commit("top");

    let without = world.project(&format!("commit: {top}"));
    let ran = world.build(&without, &[]).success();
    assert!(ran.stderr.contains("has 1 submodules, which are left empty, the first is vendor/lib"), "{}", ran.stderr);
    assert!(!world.files(&without).iter().any(|line| line.contains("lib.c")));

    let project = world.project(&format!("commit: {top}, submodules: true"));
    world.lock(&project).success();
    let lock = project.read("bulla.lock");
    for (path, name, commit) in [("vendor/lib", "lib", &middle), ("vendor/lib/in", "inner", &deepest)] {
        let url = world.server.url();
        let line = format!("{{ path = \"{path}\", git = \"{url}/{name}\", commit = \"{commit}\" }}");
        assert!(lock.contains(&line), "{line} is not in {lock}");
    }
    let digest = world.build(&project, &["--locked"]).success().stdout;
    repo.git(&["submodule", "update", "-q", "--init", "--recursive"]);
    let files = world.files(&project);
    let expected: Vec<String> = listing(repo.folder()).into_iter().filter(|line| !line.contains("/.git ")).collect();
    assert_eq!(files, expected);
    let why = world.environment.run(&project, &["why", "/shop/vendor/lib/lib.c"]).success().stdout;
    assert!(why.contains(&format!("vendor/lib: {}/lib {middle}", world.server.url())), "{why}");
    world.forget();
    assert_eq!(world.build(&project, &["--locked"]).success().stdout, digest);
    // Without them it is another source.
    let other = world.project(&format!("commit: {top}"));
    other.write("bulla.lock", &lock);
    world.build(&other, &["--locked"]).failure(7);
}

#[test]
fn submodules_lead_to_no_file_program_or_place_of_this_machine() {
    let Some(world) = World::new("hostile submodules") else { return };
    let (lib, repo) = (world.repo("lib"), world.repo("shop"));
    lib.write("lib.c", "int lib;\n");
    let commit = lib.commit("lib");
    let other = GitServer::serve(world.folder.path());
    let file = format!("file://{}", lib.folder().display());
    let with_url = |list: &str| {
        let list = repo.object("blob", list.as_bytes());
        let tree = repo.tree(&[("100644", b".gitmodules", &list), ("160000", b"lib", &commit)]);
        world.project(&format!("commit: {}, submodules: true", repo.commit_tree(&tree)))
    };
    let entry = |url: &str| format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n\tupdate = !touch owned\n");
    world.build(&with_url(&entry("../lib")), &[]).success();
    for url in
        [file.as_str(), "/etc", "ext::sh -c id", "-oProxyCommand=id:x", "../../../x", "git://127.0.0.1/lib", "\"\""]
    {
        world.fails(&with_url(&entry(url)), 3, "the submodule `lib` has the address");
    }
    world.fails(&with_url(&entry(&format!("{}/lib", other.url()))), 7, "local-hosts");
    world.fails(&with_url(&entry("http://169.254.169.254/lib")), 7, "leads to an address of this machine");
    world.fails(&with_url(&entry("git@git.example:lib")), 7, "ssh-hosts");
    assert!(other.asked().is_empty() && !repo.folder().join("owned").exists());
    world.fails(&with_url(""), 3, "has no address in `.gitmodules`");
    world.fails(
        &with_url(&entry("../lib").replace("path = lib", "path = ../lib")),
        3,
        "names a path that is not clean",
    );
    world.fails(&with_url(&entry("../shop")), 4, "the git server refuses");
}

/// A stand-in for `ssh`, which runs the command here and notes how it was called.
const SSH: &str = "#!/bin/sh
printf '%s\\n' \"$@\" > \"$HOME/ssh-arguments\"
env > \"$HOME/ssh-environment\"
while [ \"$1\" != -- ]; do shift; done
shift
case $1 in refused.example) echo 'Host key verification failed.' >&2; exit 255;; esac
[ -e \"$HOME/old\" ] && unset GIT_PROTOCOL
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
exec sh -c \"$2\"
";

#[test]
fn repositories_are_reached_by_ssh_where_the_configuration_names_the_host() {
    let Some(world) = World::new("git by SSH") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    repo.git(&["tag", "-a", "-m", "a release", "v1"]);
    let programs = Project::new().program("ssh", SSH);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.root().display());
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"))
        .set("PATH", &path)
        .set("SSH_AUTH_SOCK", "/nowhere/agent")
        .set("BULLA_TEST_SECRET", "not for ssh");
    let home = environment.folder().join("home");
    let address = format!("ssh://me@git.example:2222{}", repo.folder().display());
    let with = |url: &str| project(&format!("git: '{url}', tag: v1, unsigned: 'nobody signs there'"));

    let refused = environment.run(&with(&address), &["lock"]).failure(7);
    assert!(refused.stderr.contains("git.example:2222 is not among the hosts") && refused.stderr.contains("ssh-hosts"));
    assert!(!home.join("ssh-arguments").exists(), "it was asked");
    environment.write_config(
        "[registry.debian]\napt = false\n[network]\nssh-hosts = ['git.example:2222', 'short.example', 'refused.example']\n",
    );
    let mut digests = Vec::new();
    for old in [false, true] {
        if old {
            fs_err::write(home.join("old"), "").expect("written");
        }
        for url in [&address, &format!("short.example:{}", repo.folder().display())] {
            let project = with(url);
            environment.run(&project, &["lock"]).success();
            assert!(project.read("bulla.lock").contains(&first));
            fs_err::remove_dir_all(environment.store()).expect("removed");
            digests.push(environment.run(&project, &["build", "--locked"]).success().stdout);
        }
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    let words = fs_err::read_to_string(home.join("ssh-arguments")).expect("noted");
    for word in
        ["-oBatchMode=yes", "-oForwardAgent=no", "-oClearAllForwardings=yes", "--\nshort.example\ngit-upload-pack '/"]
    {
        assert!(words.contains(word), "{word} is not in {words}");
    }
    let told = fs_err::read_to_string(home.join("ssh-environment")).expect("noted");
    assert!(told.contains("SSH_AUTH_SOCK=/nowhere/agent") && told.contains("GIT_PROTOCOL=version=2"), "{told}");
    assert!(!told.contains("BULLA_TEST_SECRET"), "{told}");

    let ran = environment.run(&with("git@refused.example:shop"), &["lock"]).failure(4);
    assert!(ran.stderr.contains("Host key verification failed"), "{}", ran.stderr);
    let ran = environment.run(&with("short.example:/nowhere"), &["lock"]).failure(4);
    assert!(ran.stderr.contains("does not appear to be a git repository"), "{}", ran.stderr);
    let ran = environment.run(&with("ssh://other.example/shop"), &["lock"]).failure(7);
    assert!(ran.stderr.contains("ssh-hosts"), "{}", ran.stderr);
    for url in
        ["ssh://-oProxyCommand=touch+owned/shop", "-oProxyCommand=id:shop", "me@short.example:-x", "short.example:a'b"]
    {
        environment.run(&with(url), &["lock"]).failure(3);
    }
}

/// What the server of Git LFS gives, and what it was asked.
#[derive(Default)]
struct Large {
    content: Vec<u8>,
    /// The answer in place of the right one.
    batch: Option<String>,
    asked: Vec<String>,
}

fn lfs(asked: &GitAsked, large: &mut Large, url: &str) -> Option<GitSaid> {
    let media_type = "application/vnd.git-lfs+json";
    if asked.path == "/shop.git/info/lfs/objects/batch" {
        large.asked.push(String::from_utf8_lossy(&asked.body).into_owned());
        if asked.header("accept") != Some(media_type) || asked.header("content-type") != Some(media_type) {
            return Some(GitSaid::status(406));
        }
        let question: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
        let (oid, size) = (&question["objects"][0]["oid"], &question["objects"][0]["size"]);
        let answer = format!(
            r#"{{"transfer":"basic","objects":[{{"oid":{oid},"size":{size},"actions":{{"download":{{"href":"{url}/large","header":{{"Authorization":"Bearer for-large"}}}}}}}}]}}"#
        );
        return Some(GitSaid::body(media_type, large.batch.clone().unwrap_or(answer)));
    }
    let allowed = asked.header("authorization") == Some("Bearer for-large");
    (asked.path == "/large").then(|| match allowed {
        true => GitSaid::body("application/octet-stream", large.content.clone()),
        false => GitSaid::status(403),
    })
}

#[test]
fn what_git_lfs_keeps_is_fetched_where_the_spec_says_so_and_hashed() {
    if !has_git("Git LFS") {
        return;
    }
    let Some(world) = World::new("Git LFS") else { return };
    let repo = world.repo("shop");
    let content = "large\n".repeat(50_000).into_bytes();
    let (digest, size) = (Digest::of(&content), content.len());
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid {digest}\nsize {size}\n");
    repo.write("pictures/large.bin", &pointer);
    repo.write("small", "small\n");
    // Whoever reads this would send the question elsewhere.
    repo.write(".lfsconfig", "[lfs]\n\turl = http://169.254.169.254/lfs\n");
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let commit = repo.commit("first");
    let large = Arc::new(Mutex::new(Large { content, ..Large::default() }));
    let (for_server, url) = (large.clone(), world.server.url());
    world.server.before(move |asked| lfs(asked, &mut for_server.lock().expect("no panic"), &url));

    let without = world.project(&format!("commit: {commit}"));
    let ran = world.build(&without, &[]).success();
    assert!(
        ran.stderr.contains("pointers of Git LFS, which stay") && ran.stderr.contains("pictures/large.bin"),
        "{}",
        ran.stderr
    );
    assert!(large.lock().expect("no panic").asked.is_empty());
    let line = |digest: Digest| format!("pictures/large.bin false {digest}");
    assert!(world.files(&without).contains(&line(Digest::of(&pointer))));

    let with = || world.project(&format!("commit: {commit}, lfs: true"));
    let project = with();
    world.lock(&project).success();
    assert!(project.read("bulla.lock").contains("lfs = true"));
    let built = world.build(&project, &["--locked"]).success().stdout;
    assert!(world.files(&project).contains(&line(digest)), "{:?}", world.files(&project));
    world.forget();
    assert_eq!(world.build(&project, &["--locked"]).success().stdout, built);

    // Other bytes, more and fewer of them, and answers that lead elsewhere.
    let fails = |change: &dyn Fn(&mut Large), code: i32, says: &str| {
        let before = large.lock().expect("no panic").content.clone();
        change(&mut large.lock().expect("no panic"));
        world.forget();
        world.fails(&with(), code, says);
        let mut large = large.lock().expect("no panic");
        (large.content, large.batch) = (before, None);
    };
    fails(&|large| large.content[7] ^= 1, 5, &digest.to_string());
    fails(&|large| large.content.push(b'x'), 5, "longer than");
    fails(&|large| large.content.truncate(9), 5, "gives 9 bytes");
    fails(&|large| large.batch = Some("{\"objects\":[]}".into()), 5, "says nothing of");
    fails(&|large| large.batch = Some("<html>".into()), 5, "no such answer");
    let elsewhere = |url: &str| {
        let (oid, url) = (digest.hex(), url.to_owned());
        move |large: &mut Large| {
            large.batch = Some(format!(
                r#"{{"objects":[{{"oid":"{oid}","size":1,"actions":{{"download":{{"href":"{url}"}}}}}}]}}"#
            ));
        }
    };
    fails(&elsewhere("http://169.254.169.254/latest"), 7, "leads to an address of this machine");
    fails(&elsewhere("file:///etc/passwd"), 4, "");
    let with_header = |header: &str| {
        let (oid, url) = (digest.hex(), format!("{}/large", world.server.url()));
        let action = format!(r#"{{"href":"{url}","header":{{"Authorization":"{header}"}}}}"#);
        move |large: &mut Large| {
            large.batch =
                Some(format!(r#"{{"objects":[{{"oid":"{oid}","size":1,"actions":{{"download":{action}}}}}]}}"#));
        }
    };
    fails(&with_header(r"Bearer x\r\nX-Other: y"), 4, "an `Authorization` that is none");

    // Where it is at another server, that one is told nothing of the user.
    let other = GitServer::serve(world.folder.path());
    let given = large.lock().expect("no panic").content.clone();
    other.before(move |_| Some(GitSaid::body("application/octet-stream", given.clone())));
    let auth = world.environment.folder().join("home/.config/bulla/auth.conf");
    let login = |server: &GitServer| format!("machine http://{} login me password word\n", server.address());
    fs_err::write(&auth, format!("{}{}", login(&world.server), login(&other))).expect("written");
    world.environment.write_config(&format!(
        "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\", \"{}\"]\n",
        world.server.address(),
        other.address()
    ));
    elsewhere(&format!("{}/large", other.url()))(&mut large.lock().expect("no panic"));
    world.forget();
    world.server.forget();
    world.lock(&with()).success();
    large.lock().expect("no panic").batch = None;
    assert!(other.asked().iter().all(|asked| asked.header("authorization").is_none()) && !other.asked().is_empty());
    assert!(world.server.asked().iter().all(|asked| asked.header("authorization").is_some()), "the control");
    world.lock(&with()).success();
    // By SSH there is no such server.
    let ran = world.environment.run(&project_by_ssh(&commit), &["lock"]).failure(7);
    assert!(ran.stderr.contains("ssh-hosts"), "{}", ran.stderr);
}

fn project_by_ssh(commit: &str) -> Project {
    project(&format!("git: 'git.example:shop', commit: {commit}, lfs: true"))
}

/// The real server of SSH, for the user that runs the test. `None`, after it was said, where there is none.
fn sshd(folder: &std::path::Path) -> Option<(Background, u16)> {
    const WHAT: &str = "git by a real sshd";
    let path = std::process::Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin command -v sshd"]).output();
    let program = path.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    if program.is_empty() || !process::exists("ssh") || !process::exists("ssh-keygen") {
        skipped(WHAT, "openssh-server or openssh-client is not installed");
        return None;
    }
    for key in ["host", "user"] {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(key));
        process::output(&mut command).expect("a key");
    }
    let port = bulla_testkit::docker::free_port();
    let (at, config) = (folder.display(), folder.join("sshd_config"));
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nUsePAM no\nStrictModes no\n\
         PasswordAuthentication no\nPidFile none\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n"
    );
    fs_err::write(&config, text).expect("written");
    let public = fs_err::read_to_string(folder.join("host.pub")).expect("a public key");
    fs_err::write(folder.join("known_hosts"), format!("[localhost]:{port} {public}")).expect("written");
    let (mut command, log) = (std::process::Command::new(program), folder.join("sshd.log"));
    let mut server = Background::start(command.args(["-D", "-e", "-f"]).arg(&config), &log).ok()?;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    if server.wait_until(std::time::Duration::from_secs(20), listens) {
        return Some((server, port));
    }
    skipped(WHAT, &format!("sshd does not start: {}", fs_err::read_to_string(&log).unwrap_or_default().trim()));
    None
}

#[test]
fn a_real_server_of_ssh_is_asked_with_the_key_of_the_user_and_a_known_host_alone() {
    let Some(world) = World::new("git by a real sshd") else { return };
    let repo = world.repo("shop");
    let first = shop(&repo);
    let folder = world.folder.path().join("ssh");
    fs_err::create_dir(&folder).expect("a folder");
    let Some((_server, port)) = sshd(&folder) else { return };
    // The program reads its settings from the home of the system's list of users; here it is told others.
    let at = folder.display();
    let settings = format!(
        "IdentityFile {at}/user\nIdentitiesOnly yes\nUserKnownHostsFile {at}/known_hosts\nStrictHostKeyChecking yes\n"
    );
    fs_err::write(folder.join("config"), settings).expect("written");
    let real = process::output(std::process::Command::new("sh").args(["-c", "command -v ssh"])).expect("ssh is there");
    let script = format!("#!/bin/sh\nexec {} -F {at}/config \"$@\"\n", real.trim());
    let programs = Project::new().program("ssh", script);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.root().display());
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla")).set("PATH", &path);
    environment.write_config(&format!("[registry.debian]\napt = false\n[network]\nssh-hosts = ['localhost:{port}']\n"));
    let name = process::output(std::process::Command::new("id").arg("-un")).expect("a name");
    let url = format!("ssh://{}@localhost:{port}{}", name.trim(), repo.folder().display());
    let project = project(&format!("git: '{url}', commit: {first}, submodules: true"));
    environment.run(&project, &["build"]).success();
    assert_eq!(listing(&tree_of(&project)), listing(repo.folder()));

    // A host that is not known, or another one in its place, is not believed.
    let known = folder.join("known_hosts");
    let line = fs_err::read_to_string(&known).expect("known");
    let other = fs_err::read_to_string(folder.join("user.pub")).expect("a public key");
    for text in [String::new(), format!("[localhost]:{port} {other}")] {
        fs_err::write(&known, text).expect("written");
        fs_err::remove_dir_all(environment.store()).expect("removed");
        let ran = environment.run(&project, &["build", "--locked"]).failure(4);
        assert!(ran.stderr.contains("Host key verification failed"), "{}", ran.stderr);
    }
    fs_err::write(&known, line).expect("written");
    environment.run(&project, &["build", "--locked"]).success();
}

/// Unpacks the image of a project, and gives the folder of its source.
fn tree_of(project: &Project) -> std::path::PathBuf {
    let folder = project.path("unpacked");
    fs_err::create_dir(&folder).expect("a folder");
    unpack(&project.path("bulla-out"), &folder);
    folder.join("shop")
}
