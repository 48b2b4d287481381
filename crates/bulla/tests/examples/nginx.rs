use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use bulla_testkit::{
    Project,
    process::{self, Background},
};

use crate::world::{World, build, project, skopeo, unpack};

#[test]
fn nginx_from_packages_alone_serves_a_page_as_an_ordinary_user() {
    let Some(world) = World::get() else { return };
    let project = project("nginx-light", &["site/nginx.conf", "site/html/index.html"]);
    build(&world.environment, &project);
    skopeo(&project, "65532");
    if let Some(page) = served(&project) {
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("nobody is root"), "{page}");
    }
}

/// Runs the nginx of a built image, and gives the page that it serves at `/`. `None`, after it was said, where that cannot be done.
pub(crate) fn served(project: &Project) -> Option<String> {
    let (root, _folder) = unpack(project)?;
    // Its own file system as its root, and a user who may write in /tmp alone. Namespaces are for those who may make them.
    if !process::is_root() {
        bulla_testkit::skipped("nginx running", "chroot needs root");
        return None;
    }
    for (link, target) in [("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")] {
        fs_err::create_dir_all(root.join("dev")).expect("a folder");
        fs_err::os::unix::fs::symlink(target, root.join("dev").join(link)).expect("a link");
    }
    let config = root.join("etc/nginx/nginx.conf");
    let text = fs_err::read_to_string(&config).expect("the configuration is in the image");
    // The port of the example may be in use on this machine.
    let port = bulla_testkit::docker::free_port();
    let text = text.replace("listen 8080", &format!("listen 127.0.0.1:{port}")).replace("/dev/stdout", "off");
    fs_err::write(&config, text).expect("writing the configuration");
    let log = project.path("nginx.log");
    let mut server = Background::start(
        Command::new("chroot").arg("--userspec=65532:65532").arg(&root).args(["/usr/sbin/nginx", "-e", "stderr"]),
        &log,
    )
    .expect("it starts");
    let up = server.wait_until(Duration::from_secs(20), || get(port).is_some());
    assert!(up, "{}", fs_err::read_to_string(&log).unwrap_or_default());
    Some(get(port).expect("an answer"))
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}
