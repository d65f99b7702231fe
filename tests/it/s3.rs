//! An S3 server for the tests, `scripts/dev/s3_server.py`, and its objects.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::lab::project;

/// Any signature will do.
const KEY: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                   SignedHeaders=host, Signature=x";

/// The server of this process; it ends with it.
struct Server {
    port: u16,
    /// Its standard input is open as long as this process lives.
    _child: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let python = project().join(".venv-servers/bin/python");
        let what = ".venv-servers is missing: run the tests with `scripts/test`, which makes it";
        assert!(python.exists(), "{what}");
        let mut child = Command::new(python)
            .arg(project().join("scripts/dev/s3_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        Server {
            port: line.trim().parse().unwrap(),
            _child: child,
        }
    })
}

/// The server's address.
pub fn endpoint() -> String {
    format!("http://127.0.0.1:{}", server().port)
}

/// Makes a program use the server.
pub fn connect(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ENDPOINT_URL", endpoint())
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ALLOW_HTTP", "true")
}

/// Status and body of a request.
fn request(method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", server().port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: {KEY}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.unwrap() + 4);
    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
    (status, body.to_vec())
}

pub fn put(path: &str, body: &[u8]) {
    assert_eq!(request("PUT", &format!("/{path}"), body).0, 200, "{path}");
}

pub fn delete(path: &str) {
    let (status, _) = request("DELETE", &format!("/{path}"), &[]);
    assert_eq!(status, 204, "{path}");
}

/// An object; `None` if there is none.
pub fn get(path: &str) -> Option<Vec<u8>> {
    let (status, body) = request("GET", &format!("/{path}"), &[]);
    (status == 200).then_some(body)
}

/// The names of all objects of a bucket, sorted.
pub fn names(bucket: &str) -> Vec<String> {
    let (status, body) = request("GET", &format!("/{bucket}?list-type=2"), &[]);
    assert_eq!(status, 200);
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("<IsTruncated>false"));
    let keys = body.split("<Key>").skip(1);
    let keys = keys.map(|key| key.split_once("</Key>").unwrap().0.to_owned());
    let mut keys: Vec<String> = keys.collect();
    keys.sort();
    keys
}

/// All objects of a bucket below a folder, with their names there.
pub fn objects(bucket: &str, folder: &str) -> Vec<(String, Vec<u8>)> {
    let names = names(bucket).into_iter();
    let below = names.filter_map(|name| Some(name.strip_prefix(folder)?.trim_matches('/').into()));
    below
        .filter(|name: &String| name != "history.json")
        .map(|name| {
            let object = get(&format!("{bucket}/{folder}/{name}")).unwrap();
            (name, object)
        })
        .collect()
}
