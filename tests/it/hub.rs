//! A hub on this machine, with one file.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use common::sha256_bytes;

/// The behaviour of the hub.
#[derive(Clone, Copy, PartialEq)]
pub enum Manners {
    /// The first transfer ends after half of the file.
    BreaksOffOnce,
    /// It says another sha256 than the file has.
    WrongHash,
    /// It wants a token.
    Gated,
}

/// A hub that answers until the test ends.
pub struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    pub fn serve(content: Vec<u8>, manners: Manners) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                let request = request(&stream);
                let first = !log
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|line: &String| line.starts_with("GET"));
                log.lock().unwrap().push(request.clone());
                let _ = stream.write_all(&answer(&request, &content, manners, first));
            }
        });
        Hub { address, asked }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests so far: their first line and the range that they ask for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = lines
        .iter()
        .find(|line| line.to_lowercase().starts_with("range:"));
    format!("{} {}", lines[0], range.cloned().unwrap_or_default())
}

fn answer(request: &str, content: &[u8], manners: Manners, first: bool) -> Vec<u8> {
    let sha256 = match manners {
        Manners::WrongHash => "0".repeat(64),
        _ => sha256_bytes(content),
    };
    let start = request
        .split("bytes=")
        .nth(1)
        .and_then(|range| range.split('-').next()?.parse().ok());
    let body = &content[start.unwrap_or(0)..];
    let status = match (manners, start) {
        (Manners::Gated, _) => "401 Unauthorized",
        (_, Some(_)) => "206 Partial Content",
        (_, None) => "200 OK",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nX-Linked-Etag: \"{sha256}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = match request.starts_with("HEAD") {
        true => &[],
        false if manners == Manners::BreaksOffOnce && first => &body[..body.len() / 2],
        false => body,
    };
    [head.as_bytes(), body].concat()
}
