// A server as one writes it with Rust's standard library alone: a thread for each connection, a table under an
// RwLock, a small pool of workers behind a channel that answer by channel. Rust's locks, channels and parking are
// futexes through syscall(), not pthread locks. Lines in: put KEY VALUE, get KEY, reverse TEXT, bye. std_server.cpp
// is its twin.
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

type Job = (String, Sender<String>);

thread_local! {
    // Per thread, hence per connection: a thread pointer that does not follow the thread shows as a wrong "bye N".
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

fn answer(table: &RwLock<HashMap<String, String>>, pool: &Sender<Job>, line: &str) -> Option<String> {
    REQUESTS.with(|r| r.set(r.get() + 1));
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "put" => {
            let (key, value) = rest.split_once(' ')?;
            table.write().unwrap().insert(key.to_string(), value.to_string());
            Some("ok".to_string())
        }
        "get" => Some(table.read().unwrap().get(rest).cloned().unwrap_or_else(|| "none".to_string())),
        "reverse" => {
            let (reply, back) = channel();
            pool.send((rest.to_string(), reply)).unwrap();
            Some(back.recv().unwrap())
        }
        "bye" => Some(format!("bye {}", REQUESTS.with(|r| r.get()))),
        _ => None,
    }
}

fn serve(table: Arc<RwLock<HashMap<String, String>>>, pool: Sender<Job>, stream: TcpStream) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let Some(mut reply) = answer(&table, &pool, &line?) else { break };
        reply.push('\n');
        out.write_all(reply.as_bytes())?;
        if reply.starts_with("bye ") {
            break;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?.port());
    let table = Arc::new(RwLock::new(HashMap::new()));
    let (pool, jobs) = channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..4 {
        let jobs = Arc::clone(&jobs);
        thread::spawn(move || loop {
            // Taken under the lock and answered outside it, or the pool would be one worker.
            let job = jobs.lock().unwrap().recv();
            let Ok((text, reply)) = job else { break };
            reply.send(text.chars().rev().collect()).unwrap();
        });
    }
    for stream in listener.incoming() {
        let (stream, table, pool) = (stream?, Arc::clone(&table), pool.clone());
        thread::spawn(move || {
            if let Err(e) = serve(table, pool, stream) {
                eprintln!("connection: {e}");
            }
        });
    }
    Ok(())
}
