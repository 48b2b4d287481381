//! Runs `git http-backend` for one request (RFC 3875).

use std::{io::Write, path::Path, process::Stdio};

use super::{GitAsked, GitSaid, git_command};

/// Answers a request by what git's own server program says.
pub(super) fn run(root: &Path, asked: &GitAsked) -> GitSaid {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let mut command = git_command(root);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &asked.method)
        .env("REMOTE_ADDR", "127.0.0.1");
    let variables = [("content-type", "CONTENT_TYPE"), ("git-protocol", "GIT_PROTOCOL")];
    for (header, variable) in variables {
        if let Some(value) = asked.header(header) {
            command.env(variable, value);
        }
    }
    command.env("CONTENT_LENGTH", asked.body.len().to_string());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend can be run");
    let mut input = child.stdin.take().expect("a pipe");
    let body = asked.body.clone();
    // It may begin to answer before it has read all.
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(&body);
    });
    let out = child.wait_with_output().expect("git http-backend ends");
    let _ = writer.join();
    let end = out.stdout.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(out.stdout.len());
    let (head, body) = out.stdout.split_at(end);
    let mut said = GitSaid { status: 200, headers: Vec::new(), body: body.get(4..).unwrap_or_default().to_vec() };
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name.eq_ignore_ascii_case("status") {
            true => said.status = value.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(500),
            false => said.headers.push((name.to_owned(), value.to_owned())),
        }
    }
    said
}
