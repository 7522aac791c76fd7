//! A client on the standard library of Rust: `relay copy|talk PATH`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::{env, thread};

/// Standard input to the daemon, and meanwhile the answer to standard output.
fn copy(socket: &UnixStream) -> io::Result<()> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            relay(&mut io::stdin().lock(), &mut &*socket)?;
            socket.shutdown(Shutdown::Write)
        });
        relay(&mut &*socket, &mut io::stdout().lock())?;
        sender.join().expect("the sender ended by itself")
    })
}

fn relay(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut block = [0; 65536];
    loop {
        match from.read(&mut block)? {
            0 => return to.flush(),
            size => to.write_all(&block[..size])?,
        }
    }
}

/// A line, its answer, the next line.
fn talk(mut socket: &UnixStream) -> io::Result<()> {
    let mut answers = BufReader::new(socket);
    for line in io::stdin().lock().lines() {
        socket.write_all(format!("{}\n", line?).as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        print!("{answer}");
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let socket = UnixStream::connect(&arguments[2])?;
    match arguments[1].as_str() {
        "copy" => copy(&socket),
        _ => talk(&socket),
    }
}
