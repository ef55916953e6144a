//! The load server of the benches. Prints its port, then serves one case a connection, as the path of the URL says:
//! `/<dialect>/<kind>/<size>/<channels>/<count>`.

mod case;
mod connection;
mod dialect;
mod feed;
mod frame;
mod handshake;
mod out;

use std::io::{self, Write};

use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A subject that sees its connection end before its case is done fails loudly; this says why.
            if let Err(error) = connection::serve(stream).await {
                eprintln!("load: {error}");
            }
        });
    }
}
