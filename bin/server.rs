//! The server's program: flags, logging, engine and server brought together, and the operators' tools.
//!
//! The order matters: the ports are taken before the data is touched, so that a taken one changes nothing
//! on disk; clients are let in once the data is there; and the line that says that it is ready comes
//! when writes are taken.

use std::process::ExitCode;

use chronos::engine::{Engine, Environment};
use chronos::server::start::Announcer;
use chronos::server::{self, Config, Server, Signals, Stopped, logging, start};
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
    start::keep_files_private();
    // Signals first: threads inherit what is blocked.
    let prepared = Signals::block_stray()
        .and_then(|()| logging::start(config.log_level).map_err(server::Error::Start));
    let code = match (prepared, tool) {
        (Err(error), _) => failed(&error.to_string()),
        (Ok(()), Some(tool)) => tool.run(),
        (Ok(()), None) => {
            serve(&config).map_or_else(|sentence| failed(&sentence), |()| ExitCode::SUCCESS)
        }
    };
    logging::finish();
    code
}

fn failed(sentence: &str) -> ExitCode {
    logging::complain(sentence);
    ExitCode::FAILURE
}

fn serve(config: &Config) -> Result<(), String> {
    let told = |error: server::Error| error.to_string();
    let mut settings = config.settings();
    settings.password = config.password()?;
    let signals = Signals::catch().map_err(told)?;
    let bound = server::bind(&config.listen).map_err(told)?;
    let redis_bound = server::bind(&config.redis_listen).map_err(told)?;
    start::log_start(config, bound.addresses().chain(redis_bound.addresses()));
    let announcer = Announcer::default();
    let mut options = config.engine_options();
    options.listener = Some(announcer.listener());
    let (engine, recovery) = Environment::disk(&config.data_dir)
        .and_then(|environment| Engine::open(environment, options))
        .map_err(|error| start::explain_open_error(&error, &config.data_dir))?;
    start::log_recovery(&recovery, &config.data_dir);
    start::wait_for_room(&engine);
    let listeners = bound.listen().map_err(told)?;
    let redis_listeners = redis_bound.listen().map_err(told)?;
    let mut server =
        Server::with_redis(&engine, listeners, redis_listeners, &settings).map_err(told)?;
    server.handle_signals(signals).map_err(told)?;
    start::warn_if_exposed(server.addresses(), settings.password.is_some());
    announcer.announce(server.addresses(), &engine);
    match server.run().map_err(told)? {
        Stopped::Clean => tracing::info!("stopped: everything is saved"),
        Stopped::Hurried => {
            tracing::info!("stopped in a hurry: everything acknowledged is in the log");
            logging::finish();
            // The engine's threads may be at work; what they leave unfinished, recovery finishes.
            std::process::exit(0);
        }
    }
    Ok(())
}
