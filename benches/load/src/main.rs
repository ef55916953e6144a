//! The load server of the benches. Prints its port, then serves one case a connection, as the path of the URL says:
//! `/<dialect>/<kind>/<size>/<channels>/<count>`. `--fault drop|swap|twice|corrupt` spoils one message of each stream.

mod case;
mod connection;
mod dialect;
mod fault;
mod feed;
mod frame;
mod handshake;
mod out;

use std::io::{self, Write};

use tokio::net::TcpListener;

use fault::Fault;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let fault = fault()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = connection::serve(stream, fault).await {
                eprintln!("load: {error}");
            }
        });
    }
}

fn fault() -> io::Result<Option<Fault>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &*arguments {
        [] => Ok(None),
        [option, name] if option == "--fault" && Fault::parse(name).is_some() => Ok(Fault::parse(name)),
        _ => Err(io::Error::other("bench-load [--fault drop|swap|twice|corrupt]")),
    }
}
