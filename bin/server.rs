//! The server's program: flags, logging, engine and server brought together, and the operators' tools.
//!
//! The order matters: the listeners are bound before the data is touched, so that a taken port
//! changes nothing on disk, and the line that says "listening" comes after recovery.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use chronos::engine::{Engine, Environment};
use chronos::server::{self, Config, Server, Stopped, start};
use chronos::tools::Tool;
use clap::Parser;

/// The command line: a tool, or the server's flags.
#[derive(Debug, Parser)]
#[command(
    name = "chronos",
    version,
    about,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    tool: Option<Tool>,
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { tool, config } = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(config.log_level)
        .init();
    if let Some(tool) = tool {
        return tool.run();
    }
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("chronos: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> Result<(), String> {
    let listeners = server::listen(&config.listen).map_err(|error| error.to_string())?;
    let redis_listeners =
        server::listen(&config.redis_listen).map_err(|error| error.to_string())?;
    let (engine, recovery) = Environment::disk(&config.data_dir)
        .and_then(|environment| Engine::open(environment, config.engine_options()))
        .map_err(|error| start::explain_open_error(&error, &config.data_dir))?;
    start::log_recovery(&recovery, &config.data_dir);
    let mut server = Server::with_redis(&engine, listeners, redis_listeners, &config.settings())
        .map_err(|error| error.to_string())?;
    server.handle_signals().map_err(|error| error.to_string())?;
    start::warn_if_exposed(server.addresses());
    announce(server.addresses());
    match server.run().map_err(|error| error.to_string())? {
        Stopped::Clean => tracing::info!("stopped: everything is saved"),
        Stopped::Hurried => {
            tracing::info!("stopped in a hurry: everything acknowledged is in the log");
            // The engine's threads may be at work; what they leave unfinished, recovery finishes.
            std::process::exit(0);
        }
    }
    Ok(())
}

/// Says on stdout, for people and for programs that wait for it, that clients are served now.
fn announce(addresses: &[SocketAddr]) {
    let mut stdout = std::io::stdout().lock();
    for address in addresses {
        // Nobody may be reading; that is no reason not to serve.
        let _ = writeln!(stdout, "🚀 CHRONOS SERVER LISTO Y ESCUCHANDO EN TCP {address}");
    }
    let _ = stdout.flush();
}
