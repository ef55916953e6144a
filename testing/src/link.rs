use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::faults::{Controls, Faults};
use crate::pump::{Direction, pump};

/// Accepts connections until the proxy is stopped, and sees them to their end.
pub(crate) async fn accept(listener: TcpListener, target: String, controls: Arc<Controls>) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            () = changed(&controls, |faults| faults.stopped) => break,
            accepted = listener.accept() => {
                // An error: the peer is gone already, or file descriptors ran out until a link ends.
                let Ok((client, _)) = accepted else { continue };
                let now = controls.faults();
                if now.cut {
                    reset(&client);
                } else {
                    let count = Count::new(Arc::clone(&controls));
                    links.spawn(run(client, target.clone(), count, now.generation));
                }
            }
            Some(_) = links.join_next() => {}
        }
    }
    drop(listener);
    while links.join_next().await.is_some() {}
}

/// Runs one connection through the proxy.
async fn run(mut client: TcpStream, target: String, mut count: Count, generation: u64) {
    let controls = Arc::clone(&count.controls);
    count.cut = tokio::select! {
        () = changed(&controls, |faults| faults.generation != generation) => true,
        cut = forward(&mut client, &target, &controls) => cut,
    };
    if count.cut {
        reset(&client);
    }
}

/// Forwards until both ends are done (`false`) or the connection is to be cut (`true`).
async fn forward(client: &mut TcpStream, target: &str, controls: &Controls) -> bool {
    let Ok(mut server) = TcpStream::connect(target).await else {
        // What a client of an unreachable server would see, as near as a proxy can come.
        reset(client);
        return false;
    };
    // The faults make the delays here, not Nagle.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let result = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::try_join!(
            pump(client_read, server_write, Direction::ToServer, controls),
            pump(server_read, client_write, Direction::ToClient, controls),
        )
    };
    match result {
        Ok(_) => false,
        Err(error) => {
            reset(&server);
            reset(client);
            error.kind() == io::ErrorKind::Interrupted
        }
    }
}

async fn changed(controls: &Controls, until: impl FnMut(&Faults) -> bool) {
    // Fails only without a sender, which `controls` holds.
    let _ = controls.watch().wait_for(until).await.map(drop);
}

/// Makes the coming drop of the stream a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // Fails only for a socket that is gone.
    let _ = stream.set_zero_linger();
}

/// Counts a connection, also where its task is dropped.
struct Count {
    controls: Arc<Controls>,
    cut: bool,
}

impl Count {
    fn new(controls: Arc<Controls>) -> Self {
        controls.opened();
        Self { controls, cut: false }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.controls.closed(self.cut);
    }
}
