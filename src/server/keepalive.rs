//! Peers that are gone without a word: a machine that lost its power, a network that lost a connection.
//! The system asks them now and then, and reports an error to whoever never answers.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::limits::KEEPALIVE_PROBES;

/// Has a peer asked after so many seconds of silence, and given up after twice as many; 0: never. What is
/// sent to it and not acknowledged does not prolong that, as it would else do for subscribers.
pub(crate) fn keep_alive(socket: impl AsFd, seconds: u32) -> io::Result<()> {
    if seconds == 0 {
        return Ok(());
    }
    let idle = Duration::from_secs(seconds.into());
    let interval = (idle / KEEPALIVE_PROBES).max(Duration::from_secs(1));
    sockopt::set_socket_keepalive(&socket, true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        sockopt::set_tcp_keepidle(&socket, idle)?;
        sockopt::set_tcp_keepintvl(&socket, interval)?;
        sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
        let patience_ms = (idle + interval * KEEPALIVE_PROBES).as_millis();
        sockopt::set_tcp_user_timeout(&socket, u32::try_from(patience_ms).unwrap_or(u32::MAX))?;
    }
    Ok(())
}
