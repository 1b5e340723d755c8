//! A proxy that makes an older `mongod` look like MongoDB 8: it executes `bulkWrite` with the ordinary commands.
//!
//! No server of that version can be installed from the registries that the tests use. So the order and the atomicity
//! of the writes are the real ones, and the answers to `bulkWrite` are made here, by MongoDB's reference.

use std::io;
use std::net::{Ipv4Addr, Shutdown};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use bson::{Bson, Document, doc};
use mongodb::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::mongo;

/// The wire version of MongoDB 8.0.
const WIRE_VERSION: i32 = 25;

const HEADER: usize = 16;
const OP_MSG: i32 = 2013;

/// The proxy; it ends with the runtime that it was started in.
#[derive(Debug)]
pub struct Mongo8 {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    server: (String, u16),
    client: Client,
    /// The connections of clients, to see what is not read yet.
    clients: Mutex<Vec<std::net::TcpStream>>,
    /// Messages that are being read or executed.
    under_way: AtomicUsize,
    /// `bulkWrite` commands.
    executed: AtomicUsize,
}

/// A message from before it is read until it is executed or passed on.
struct UnderWay<'a>(&'a State);

impl<'a> UnderWay<'a> {
    fn begin(state: &'a State) -> Self {
        state.under_way.fetch_add(1, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Mongo8 {
    /// Starts one before the `mongod` of this address, which asks for no password.
    ///
    /// # Errors
    /// When the address cannot be read or no port is free.
    pub async fn before(uri: &str) -> anyhow::Result<Self> {
        let client = mongo::connect(uri).await?;
        let options = mongodb::options::ClientOptions::parse(uri).await?;
        let mongodb::options::ServerAddress::Tcp { host, port } = options.hosts.first().context("it names no host")?
        else {
            bail!("{uri} names no TCP address");
        };
        let server = (host.clone(), port.unwrap_or(27017));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = State {
            server,
            client,
            clients: Mutex::default(),
            under_way: AtomicUsize::default(),
            executed: AtomicUsize::default(),
        };
        let state = Arc::new(state);
        tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(accepted(client, state.clone()));
                }
            }
        });
        Ok(Self { port, state })
    }

    /// Its address for `MONGO_URI`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// How many `bulkWrite` commands it has executed.
    #[must_use]
    pub fn executed(&self) -> usize {
        self.state.executed.load(Ordering::SeqCst)
    }

    /// Whether it has executed, or passed on, all that clients have sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let mut clients = self.state.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // A message is counted before it is read: what is read by now is counted below.
        let mut is_unread = false;
        clients.retain(|client| match client.peek(&mut [0]) {
            Ok(0) => false,
            Ok(_) => {
                is_unread = true;
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
        !is_unread && self.state.under_way.load(Ordering::SeqCst) == 0
    }
}

async fn accepted(client: TcpStream, state: Arc<State>) -> io::Result<()> {
    let client = client.into_std()?;
    state.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client.try_clone()?);
    // It ends with an error when either side closes its connection.
    let _ended = serve(TcpStream::from_std(client.try_clone()?)?, &state).await;
    client.shutdown(Shutdown::Both)
}

async fn serve(client: TcpStream, state: &State) -> anyhow::Result<()> {
    let (host, port) = &state.server;
    let (mut from_server, mut to_server) = TcpStream::connect((host.as_str(), *port)).await?.into_split();
    let (mut from_client, to_client) = client.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let answers = tokio::spawn({
        let to_client = to_client.clone();
        async move {
            while let Ok(mut message) = read(&mut from_server).await {
                raise_version(&mut message);
                to_client.lock().await.write_all(&message).await?;
            }
            // The server closed the connection: so do we.
            to_client.lock().await.shutdown().await
        }
    });
    while from_client.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
        let _under_way = UnderWay::begin(state);
        let Ok(message) = read(&mut from_client).await else { break };
        match bulk_write(&message)? {
            Some(command) => {
                let reply = execute(&state.client, &command).await?;
                state.executed.fetch_add(1, Ordering::SeqCst);
                answer(&mut *to_client.lock().await, &message, &reply).await?;
            }
            None => to_server.write_all(&message).await?,
        }
    }
    to_server.shutdown().await?;
    answers.await??;
    Ok(())
}

async fn read(connection: &mut OwnedReadHalf) -> anyhow::Result<Vec<u8>> {
    let mut message = vec![0; HEADER];
    connection.read_exact(&mut message).await?;
    message.resize(usize::try_from(number(&message, 0)?)?, 0);
    connection.read_exact(message.get_mut(HEADER..).context("a message is shorter than its header")?).await?;
    Ok(message)
}

fn number(message: &[u8], at: usize) -> anyhow::Result<i32> {
    let bytes = message.get(at..at + 4).context("a message ends early")?;
    Ok(i32::from_le_bytes(bytes.try_into()?))
}

/// In the answers to `hello`.
fn raise_version(message: &mut [u8]) {
    let field = b"\x10maxWireVersion\0";
    if let Some(at) = message.windows(field.len()).position(|window| window == field) {
        message[at + field.len()..][..4].copy_from_slice(&WIRE_VERSION.to_le_bytes());
    }
}

/// A `bulkWrite` as one document, whichever sections its parts are in.
fn bulk_write(message: &[u8]) -> anyhow::Result<Option<Document>> {
    let is_it = message.windows(11).take(64).any(|window| window == b"\x10bulkWrite\0");
    if number(message, 12)? != OP_MSG || !is_it {
        return Ok(None);
    }
    let mut command = Document::new();
    let mut at = HEADER + 4;
    while let Some(kind) = message.get(at) {
        let size = usize::try_from(number(message, at + 1)?)?;
        let section = message.get(at + 1..at + 1 + size).context("a section ends early")?;
        if *kind == 0 {
            command.extend(Document::from_reader(section)?);
        } else {
            let name = section[4..].split(|byte| *byte == 0).next().unwrap_or_default();
            let mut rest = &section[4 + name.len() + 1..];
            let mut documents = Vec::new();
            while !rest.is_empty() {
                documents.push(Bson::from(Document::from_reader(&mut rest)?));
            }
            command.insert(String::from_utf8(name.to_vec())?, documents);
        }
        at += 1 + size;
    }
    Ok(Some(command))
}

/// Writes one by one, as the server does.
async fn execute(client: &Client, command: &Document) -> anyhow::Result<Document> {
    ensure!(command.get_str("$db")? == "admin", "MongoDB takes bulkWrite on admin only");
    ensure!(command.get_bool("errorsOnly")? && !command.get_bool("ordered")?, "only this is imitated");
    let namespaces = command.get_array("nsInfo")?;
    let (mut errors, mut counts) = (Vec::new(), [0_i64; 4]);
    for (index, op) in command.get_array("ops")?.iter().enumerate() {
        let mut op = op.as_document().context("an operation is no document")?.clone();
        let (verb, namespace) = op.iter().next().context("an operation is empty")?;
        let (verb, namespace) =
            (verb.clone(), usize::try_from(namespace.as_i32().context("a namespace is no number")?)?);
        let namespace =
            namespaces.get(namespace).and_then(Bson::as_document).context("no namespace has this number")?;
        let (db, collection) = namespace.get_str("ns")?.split_once('.').context("a namespace has no dot")?;
        op.remove(&verb);
        let mut ordinary = match verb.as_str() {
            "insert" => doc! { "insert": collection, "documents": [op.remove("document").context("no document")?] },
            "update" => {
                let mut statement = doc! {
                    "q": op.remove("filter").context("no filter")?,
                    "u": op.remove("updateMods").context("no updateMods")?,
                };
                statement
                    .extend(["multi", "upsert"].iter().filter_map(|name| Some(((*name).to_owned(), op.remove(name)?))));
                doc! { "update": collection, "updates": [statement] }
            }
            other => bail!("{other} is not imitated"),
        };
        ensure!(op.is_empty(), "MongoDB does not know {op} in an operation");
        ordinary.insert("writeConcern", command.get_document("writeConcern")?.clone());
        let reply = match client.database(db).run_command(ordinary).await {
            Ok(reply) => reply,
            Err(error) => match &*error.kind {
                mongodb::error::ErrorKind::Command(failure) => {
                    let error = doc! { "code": failure.code, "errmsg": &failure.message };
                    doc! { "n": 0, "writeErrors": [error] }
                }
                _ => return Err(error.into()),
            },
        };
        let error = reply.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document());
        if let Some(error) = error {
            let code = error.get_i32("code")?;
            errors.push(doc! {
                "ok": 0.0, "idx": i32::try_from(index)?, "code": code, "errmsg": error.get_str("errmsg")?, "n": 0,
            });
            continue;
        }
        let n = i64::from(reply.get_i32("n")?);
        let upserted = i64::try_from(reply.get_array("upserted").map(Vec::len).unwrap_or(0))?;
        counts[0] += if verb == "insert" { n } else { 0 };
        counts[1] += if verb == "update" { n - upserted } else { 0 };
        counts[2] += i64::from(reply.get_i32("nModified").unwrap_or(0));
        counts[3] += upserted;
    }
    let [inserted, matched, modified, upserted] = counts;
    Ok(doc! {
        "cursor": { "id": 0_i64, "firstBatch": &errors, "ns": "admin.$cmd.bulkWrite" },
        "nErrors": i32::try_from(errors.len())?, "nInserted": inserted, "nMatched": matched, "nModified": modified,
        "nUpserted": upserted, "nDeleted": 0_i64, "ok": 1.0,
    })
}

async fn answer(connection: &mut OwnedWriteHalf, request: &[u8], reply: &Document) -> anyhow::Result<()> {
    let mut body = Vec::new();
    reply.to_writer(&mut body)?;
    let length = i32::try_from(HEADER + 5 + body.len())?;
    let mut message = Vec::new();
    for field in [length, 0, number(request, 4)?, OP_MSG, 0] {
        message.extend(field.to_le_bytes());
    }
    message.push(0);
    message.extend(body);
    connection.write_all(&message).await?;
    Ok(())
}
