//! `serve`: what packages hold, by HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use url::Url;

use super::inspect::{there, unreadable};
use super::signals::Attended;
use super::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::progress::text;
use far_side::serve;
use far_side::serve::{Identity, Library, Request, Server, ServerAddress, Service, Totals, Users, Watch};

/// Serve what packages hold: a registry, charts, files and git repositories
///
/// Reads the packages as they are and unpacks nothing. Everything is checked
/// while it is read: what is damaged ends with an error. Runs until Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The packages: zarf-package-….tar.zst
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<PathBuf>,

    /// The address and port to listen on; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5001")]
    listen: SocketAddr,

    /// The address by which nodes reach the server, where it is another one
    /// than --listen says; the index of charts has it in its addresses
    #[arg(long, value_name = "URL")]
    url: Option<Url>,

    /// The certificate of the server, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Serve by TLS with a certificate that is made now; its fingerprint is
    /// printed
    #[arg(long, conflicts_with = "tls_cert")]
    tls_self_signed: bool,

    /// Let in only the users in this file, as `htpasswd -B` writes it
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,

    /// A folder for packages that are one stream, as zarf writes them: their
    /// content is unpacked there, and goes when the server ends
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,

    /// Serve nothing, and print the configuration that points a node at the
    /// server
    #[arg(long, value_name = "FOR")]
    print: Option<For>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Containerd,
    #[value(name = "registries.conf")]
    RegistriesConf,
    Kubespray,
    Helm,
    Docker,
}

impl From<For> for serve::Format {
    fn from(of: For) -> Self {
        match of {
            For::Containerd => Self::Containerd,
            For::RegistriesConf => Self::RegistriesConf,
            For::Kubespray => Self::Kubespray,
            For::Helm => Self::Helm,
            For::Docker => Self::Docker,
        }
    }
}

#[derive(Serialize)]
struct Serving<'a> {
    event: &'static str,
    url: &'a str,
    address: SocketAddr,
    /// SHA-256 of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Answered<'a> {
    event: &'static str,
    #[serde(flatten)]
    request: &'a Request,
}

#[derive(Serialize)]
struct Stopped {
    event: &'static str,
    requests: u64,
    bytes: u64,
    /// Requests that nobody took the line of.
    unlogged: u64,
}

#[derive(Serialize)]
struct Printed<'a> {
    event: &'static str,
    configuration: &'a str,
}

pub(super) fn run(args: &ServeArgs, ui: &Ui) -> Result<ExitCode> {
    args.packages.iter().try_for_each(|path| there(path))?;
    let attended = Attended::begin(ui)?;
    let library = match Library::open(&args.packages, args.spool.as_deref()) {
        Ok(library) => library,
        Err(error) => return unreadable(error, ui),
    };
    match args.print {
        Some(of) => {
            print(args, of, &library, ui);
            Ok(ExitCode::Done)
        }
        None => serve(args, attended, library, ui),
    }
}

fn print(args: &ServeArgs, of: For, library: &Library, ui: &Ui) {
    let base = args.base(args.listen);
    let place = ServerAddress { base: &base, is_self_signed: args.tls_self_signed };
    let configuration = serve::configuration(of.into(), library, &place);
    ui.say_all(configuration.lines());
    ui.data(&Printed { event: "configuration", configuration: &configuration });
}

fn serve(args: &ServeArgs, attended: Attended, library: Library, ui: &Ui) -> Result<ExitCode> {
    let identity = args.identity()?;
    let users = args.htpasswd.as_deref().map(Users::load).transpose()?;
    let stop = attended.cancellation();
    let (notes, totals) = (library.notes.clone(), Arc::new(Totals::default()));
    let (log, writer) = Log::begin(ui)?;
    attended.block_on(async {
        let server = Server::bind(args.listen, identity.as_ref()).await?;
        let address = server.address()?;
        let base = args.base(address);
        tell(
            &Told { base: &base, address, identity: identity.as_ref(), has_users: users.is_some(), notes: &notes },
            ui,
        );
        let service = Service {
            library,
            users,
            base,
            is_absolute: args.url.is_some(),
            watch: Arc::new(log),
            totals: totals.clone(),
        };
        server.run(Arc::new(service), stop).await;
        Ok::<_, Error>(())
    })?;
    let (requests, bytes, unlogged) = (totals.requests(), totals.bytes(), writer.end());
    if unlogged > 0 {
        ui.note(&format!("note: {unlogged} requests are not in the log: whoever read it was too slow"));
    }
    ui.say(&format!("stopped after {requests} requests and {}", text::bytes(bytes)));
    ui.data(&Stopped { event: "stopped", requests, bytes, unlogged });
    Ok(ExitCode::Done)
}

/// What whoever started it has to know.
struct Told<'a> {
    base: &'a str,
    address: SocketAddr,
    identity: Option<&'a Identity>,
    has_users: bool,
    notes: &'a [String],
}

fn tell(told: &Told<'_>, ui: &Ui) {
    let Told { base, address, identity, has_users, notes } = *told;
    ui.say(&format!("serving {base}/ on {address}; Ctrl-C ends it"));
    if let Some(identity) = identity {
        ui.say(&format!("certificate SHA-256 {}", identity.shown_fingerprint()));
        if ui.verbose
            && let Some(certificate) = &identity.certificate
        {
            ui.say_all(certificate.lines());
        }
    }
    if !address.ip().is_loopback() && has_users && identity.is_none() {
        ui.note(
            "warning: passwords cross the network in the clear: use --tls-cert and --tls-key, or --tls-self-signed",
        );
    }
    notes.iter().for_each(|note| ui.note(&format!("note: {note}")));
    let fingerprint = identity.map(Identity::shown_fingerprint);
    ui.data(&Serving { event: "serving", url: base, address, fingerprint, notes });
}

impl ServeArgs {
    fn identity(&self) -> Result<Option<Identity>> {
        match (&self.tls_cert, &self.tls_key, self.tls_self_signed) {
            (Some(certificate), Some(key), _) => Identity::load(certificate, key).map(Some),
            (_, _, true) => {
                let host = self.url.as_ref().and_then(Url::host_str);
                Identity::self_signed(&serve::names(&[self.listen.ip()], host)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The address by which clients reach the server, without a slash at its
    /// end.
    fn base(&self, listens: SocketAddr) -> String {
        if let Some(url) = &self.url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls_cert.is_some() || self.tls_self_signed { "https" } else { "http" };
        // Where it listens on every address, nobody knows which one counts.
        let address = match listens.ip().is_unspecified() {
            true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listens.port()),
            false => listens,
        };
        format!("{scheme}://{address}")
    }
}

/// Lines of the access log that wait to be written.
const WAITING: usize = 1_000;
/// How long they are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The access log, on a thread of its own: whoever reads it and stops does not
/// keep clients waiting. What has no room is counted.
struct Log {
    lines: SyncSender<Request>,
    lost: Arc<AtomicU64>,
}

/// The end of the log that writes.
struct Writer {
    done: Receiver<()>,
    lost: Arc<AtomicU64>,
}

impl Log {
    fn begin(ui: &Ui) -> Result<(Self, Writer)> {
        let (lines, waiting) = sync_channel::<Request>(WAITING);
        let (end, done) = sync_channel(1);
        let (lost, ui) = (Arc::new(AtomicU64::new(0)), ui.clone());
        let write = move || {
            waiting.iter().for_each(|request| write(&request, &ui));
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(write);
        thread.map_err(|source| Error::local("cannot start the thread `access-log`").caused_by(source))?;
        Ok((Self { lines, lost: lost.clone() }, Writer { done, lost }))
    }
}

impl Writer {
    /// Waits for the last lines. Gives the number of those that were lost.
    fn end(self) -> u64 {
        let _ = self.done.recv_timeout(PATIENCE);
        self.lost.load(Ordering::Relaxed)
    }
}

impl Watch for Log {
    fn answered(&self, request: &Request) {
        if self.lines.try_send(request.clone()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(request: &Request, ui: &Ui) {
    let Request { client, method, path, status, bytes, duration_ms, failure, .. } = request;
    ui.data(&Answered { event: "request", request });
    if let Some(failure) = failure.as_deref().filter(|_| *status >= 500 || ui.verbose) {
        ui.note(&format!("{client} {method} {path}: {failure}"));
    } else if ui.verbose {
        ui.say(&format!("{client} {method} {path} {status} {bytes} B {duration_ms} ms"));
    }
}
