//! The `realtime` command.

fn main() -> std::process::ExitCode {
    realtime_server::cli::run(std::env::args_os())
}
