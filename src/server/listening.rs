//! Ports in two steps. Bound, a port is taken, and the system refuses clients as if nobody were there:
//! so it is while the data is recovered, and a health check that connects tells the truth. Listening
//! comes when clients can be served.
//!
//! Two programs that are both bound to a port and do not listen yet do not notice each other: of them
//! the second to listen is refused.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mio::net::TcpListener;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::Error;
use super::limits::ACCEPT_BACKLOG;

/// Addresses that are taken and not listened on yet.
#[derive(Debug)]
pub struct Bound(Vec<(SocketAddr, OwnedFd)>);

impl Bound {
    /// Lets clients come.
    ///
    /// # Errors
    /// [`Error::Listen`] for the first address that somebody else has come to listen on.
    pub fn listen(self) -> Result<Vec<TcpListener>, Error> {
        let listen = |(address, socket): (SocketAddr, OwnedFd)| {
            net::listen(&socket, ACCEPT_BACKLOG)
                .map_err(|error| Error::Listen { address, source: error.into() })?;
            Ok(TcpListener::from_std(socket.into()))
        };
        self.0.into_iter().map(listen).collect()
    }

    /// The addresses, with the real ports.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|(address, socket)| {
            let found = net::getsockname(socket).ok();
            found.and_then(|found| found.try_into().ok()).unwrap_or(*address)
        })
    }
}

/// Takes the addresses. Clients are still refused.
///
/// # Errors
/// [`Error::Listen`] for the first address that cannot be had.
pub fn bind(addresses: &[SocketAddr]) -> Result<Bound, Error> {
    let bind = |&address: &SocketAddr| {
        let socket = bind_one(address).map_err(|source| Error::Listen { address, source })?;
        Ok((address, socket))
    };
    addresses.iter().map(bind).collect::<Result<_, _>>().map(Bound)
}

/// Takes the addresses and lets clients come: [`bind`] and [`Bound::listen`] at once.
///
/// # Errors
/// [`Error::Listen`] for the first address that cannot be had.
pub fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    bind(addresses)?.listen()
}

fn bind_one(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of the run before, which the system has not forgotten yet, do not keep it off.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn clients_are_refused_until_it_listens() {
        let bound = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = bound.addresses().next().unwrap();
        assert_ne!(address.port(), 0);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let listeners = bound.listen().unwrap();
        assert_eq!(listeners[0].local_addr().unwrap(), address);
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn a_port_is_given_to_one_program_only() {
        let bound = bind(&["[::1]:0".parse().unwrap()]).unwrap();
        let address = bound.addresses().next().unwrap();
        let rival = bind(&[address]).unwrap();
        let _listeners = bound.listen().unwrap();
        for error in [rival.listen().unwrap_err(), bind(&[address]).unwrap_err()] {
            let sentence = error.to_string();
            assert!(sentence.contains("choose another --listen"), "{sentence}");
            assert!(sentence.contains(&address.to_string()), "{sentence}");
        }
    }
}
