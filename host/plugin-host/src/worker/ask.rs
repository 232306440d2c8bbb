//! Starts the process, waits for its answer, and puts what ended it into
//! words. Dropping the future kills it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{Answer, COMMAND, Head, Task, Worker, frame};
use crate::notes::with_notes;
use crate::text;
use base::error::{Class, Error, Result};
use config::limits::Limit;
use confine::alone::{Bounds, Memory};

/// Threads of one compiler. Each works on a function of its own, and the
/// memory of all of them is under one limit.
const THREADS: usize = 8;
/// A machine that is busy with something else gets this many times the
/// processor's seconds.
const PATIENCE: u32 = 4;
/// Bytes of what the process prints, and lines of it that are told: a panic
/// takes two, its place and its message.
const PRINTED: u64 = 16 << 10;
const WORDS: usize = 2;

/// What is asked, and what the answer may cost.
pub(crate) struct Question<'a> {
    /// `plugin sbom 1.2.0 (sha256:4355a46b19d3)`.
    pub(crate) about: &'a str,
    /// What is done to it: "compiled", "described".
    pub(crate) verb: &'static str,
    pub(crate) task: Task,
    pub(crate) bounds: Bounds,
    /// Bytes of the answer.
    pub(crate) answer: u64,
    /// What the user raises where the bounds are too narrow.
    pub(crate) memory: Limit,
    pub(crate) time: Limit,
}

/// Asks the worker; the body of its answer.
///
/// # Errors
/// `plugin` for what the component does wrong and for a limit that it met;
/// `local` where the process can not work; `interrupted`.
pub(crate) async fn ask(
    worker: &Worker,
    question: &Question<'_>,
    body: &[u8],
    cancel: &CancellationToken,
) -> Result<Vec<u8>> {
    let answered = async {
        match worker {
            Worker::Process(program) => ask_process(program, question, body).await,
            #[cfg(test)]
            Worker::Here => ask_here(question, body).await,
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::interrupted()),
        answered = answered => answered,
    }
}

#[cfg(test)]
async fn ask_here(question: &Question<'_>, body: &[u8]) -> Result<Vec<u8>> {
    let (task, body) = (question.task.clone(), body.to_vec());
    let work = move || super::serve::answer(&crate::engine::new()?, &task, body);
    let answered = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::local(error.to_string())));
    answered.map_err(|error| super::Told::of(&error).into_error())
}

async fn ask_process(program: &Path, question: &Question<'_>, body: &[u8]) -> Result<Vec<u8>> {
    let failed = |error| {
        Error::local("cannot start the process that compiles plugins").caused_by(error).hint(
            "it is this program, started again: check the limits of processes and of memory, and that /proc is mounted",
        )
    };
    let mut child = start(program).map_err(failed)?;
    let head = Head { parent: std::process::id(), bounds: question.bounds, task: question.task.clone() };
    let front = frame::front(&head, body.len()).map_err(failed)?;
    let seconds = u32::try_from(question.bounds.processor).unwrap_or(u32::MAX).saturating_mul(PATIENCE);
    let exchange = exchange(&mut child, &front, body, frame::longest(question.answer));
    let Ok(exchanged) = tokio::time::timeout(Duration::from_secs(seconds.into()), exchange).await else {
        let waited = format!("{} could not be {} within {seconds} s", question.about, question.verb);
        return Err(question.time.exceeded(waited));
    };
    let Exchanged { status, answer, printed } = exchanged.map_err(failed)?;
    match frame::taken_apart(answer, question.answer) {
        Ok((Answer::Done, body)) if status.success() => Ok(body),
        Ok((Answer::Failed(told), _)) if status.success() => Err(told.into_error()),
        Ok(_) => Err(ended(question, status, None, &printed)),
        Err(error) => Err(ended(question, status, Some(error), &printed)),
    }
}

/// Started on a thread of the runtime, and not on one for blocking work: the
/// process ends with the thread that started it.
fn start(program: &Path) -> io::Result<Child> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    Command::new(program)
        .arg0("opencenter-airgap")
        .arg(COMMAND)
        .env_clear()
        // Arenas take 64 MiB of addresses each, one for every thread.
        .env("MALLOC_ARENA_MAX", "2")
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

struct Exchanged {
    status: ExitStatus,
    answer: Vec<u8>,
    printed: Vec<u8>,
}

/// Sends and receives at the same time. A process that ends before it has read
/// everything has said why, or its end says it.
async fn exchange(child: &mut Child, front: &[u8], body: &[u8], longest: u64) -> io::Result<Exchanged> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let send = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(front).await;
            let _ = stdin.write_all(body).await;
        }
    };
    let ((), answer, printed) = tokio::join!(send, at_most(stdout, longest), at_most(stderr, PRINTED));
    let status = child.wait().await?;
    Ok(Exchanged { status, answer: answer?, printed: printed? })
}

/// What comes, up to a limit; the pipe is closed at its end, so that whoever
/// writes on does not wait.
async fn at_most(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Why there is no answer. The signal tells which limit was met; a Rust program
/// that gets no memory aborts.
fn ended(question: &Question<'_>, status: ExitStatus, read: Option<io::Error>, printed: &[u8]) -> Error {
    let Question { about, verb, bounds, .. } = question;
    let is = |signal: Signal| status.signal() == Some(signal.as_raw());
    let error = if is(Signal::XCPU) {
        question.time.exceeded(format!("{about} could not be {verb} in {} s of processor time", bounds.processor))
    } else if is(Signal::ABORT) {
        let (Memory::Addresses(bytes) | Memory::Writable(bytes)) = bounds.memory;
        question.memory.exceeded(format!("{about} could not be {verb} in {} MiB of memory", bytes >> 20))
    } else {
        let message = format!("{about} could not be {verb}: the process that does it ended with {status}");
        Error::new(Class::Plugin, message).hint(
            "it may have been killed because the machine has no memory left; else this is a fault of the compiler",
        )
    };
    // Nothing at all is what any end looks like from here.
    let broken = read.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof).map(|error| error.to_string());
    with_notes(error, broken.into_iter().chain(words(printed)).collect())
}

/// What a program says when it ends itself, without what it says about
/// backtraces.
fn words(printed: &[u8]) -> Vec<String> {
    let printed = String::from_utf8_lossy(printed);
    let lines = printed.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("note: "));
    lines.take(WORDS).map(|line| text::line(line, 500)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use disk::fs;

    /// A program that does what a script says, instead of what it is asked.
    struct Stand {
        folder: tempfile::TempDir,
    }

    impl Stand {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let program = folder.path().join("worker");
            fs::write_new(&program, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
            fs::set_mode(&program, 0o755).unwrap();
            Self { folder }
        }

        async fn asked(&self, cancel: &CancellationToken) -> Result<Vec<u8>> {
            let question = Question {
                about: "plugin x",
                verb: "compiled",
                task: Task::Check,
                bounds: Bounds { memory: Memory::Addresses(256 << 20), processor: 1 },
                answer: 1000,
                memory: Limit::CompileMemory,
                time: Limit::CompileTime,
            };
            let worker = Worker::Process(self.folder.path().join("worker"));
            ask(&worker, &question, &[7; 1 << 20], cancel).await
        }
    }

    async fn failure(script: &str) -> (Class, String) {
        let error = Stand::new(script).asked(&CancellationToken::new()).await.unwrap_err();
        (error.class(), format!("{} ({})", error.one_line(), error.hint_text().unwrap_or_default()))
    }

    /// A message as a script prints it; `length` is what it says of its body.
    fn printed(head: &str, length: u64, body: &str) -> String {
        let lengths = [head.len() as u64, length].map(u64::to_le_bytes).concat();
        let lengths: String = lengths.iter().map(|byte| format!("\\{byte:03o}")).collect();
        format!("printf '{lengths}'; printf '%s' '{head}{body}'")
    }

    #[tokio::test]
    async fn an_answer_is_taken_whole_and_only_from_a_process_that_ended_well() {
        let cancel = CancellationToken::new();
        let asked = Stand::new(&printed("\"done\"", 4, "code")).asked(&cancel).await;
        assert_eq!(asked.unwrap(), b"code");
        let (class, told) = failure(&format!("{}; exit 1", printed("\"done\"", 4, "code"))).await;
        assert_eq!(class, Class::Plugin);
        assert!(told.contains("could not be compiled: the process that does it ended with exit status: 1"), "{told}");
    }

    #[tokio::test]
    async fn answers_that_can_not_be_right_are_none() {
        for script in [
            "exit 0".to_owned(),
            "echo nonsense".to_owned(),
            printed("\"done\"", 5, "code"),
            printed("\"done\"", 1001, &"x".repeat(1001)),
            printed("\"done\"", u64::MAX, "code"),
            printed("\"other\"", 4, "code"),
            printed("{\"failed\": {}}", 0, ""),
            "cat /dev/zero".to_owned(),
        ] {
            let (class, told) = failure(&script).await;
            assert_eq!(class, Class::Plugin, "{script}: {told}");
            assert!(told.contains("plugin x could not be compiled"), "{script}: {told}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_in_its_own_words_and_cleaned() {
        let head = r#"{"failed":{"is_local":false,"message":"plugin x is bad","causes":["it\u001b[2Jself"],"hint":"mend it"}}"#;
        let (class, told) = failure(&printed(head, 0, "")).await;
        assert_eq!((class, told.as_str()), (Class::Plugin, "plugin x is bad: it\\u{1b}[2Jself (mend it)"));
    }

    #[tokio::test]
    async fn what_ended_the_process_names_the_limit() {
        let (_, told) =
            failure("echo 'memory allocation failed' >&2; echo 'note: a backtrace' >&2; kill -ABRT $$").await;
        assert!(told.contains("in 256 MiB of memory (`plugins.compile_mib`)"), "{told}");
        assert!(told.contains("memory allocation failed") && !told.contains("backtrace"), "{told}");
        let (_, told) = failure("kill -XCPU $$").await;
        assert!(told.contains("in 1 s of processor time (`plugins.compile_seconds`)"), "{told}");
        let (_, told) = failure("kill -KILL $$").await;
        assert!(told.contains("signal: 9") && told.contains("no memory left"), "{told}");
    }

    #[tokio::test]
    async fn a_process_that_waits_is_ended() {
        let started = Instant::now();
        let (class, told) = failure("exec sleep 60").await;
        assert_eq!(class, Class::Plugin);
        assert!(told.contains("could not be compiled within 4 s (`plugins.compile_seconds`)"), "{told}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_cancelled_question_kills_the_process() {
        let stand = Stand::new("echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 60");
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let path = stand.folder.path().join("pid");
        let watch = tokio::spawn(async move {
            while std::fs::read_to_string(&path).map_or(true, |pid| !pid.ends_with('\n')) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
            std::fs::read_to_string(&path).unwrap().trim().to_owned()
        });
        assert_eq!(stand.asked(&cancel).await.unwrap_err().class(), Class::Interrupted);
        let process = format!("/proc/{}/stat", watch.await.unwrap());
        let is_over = || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(5);
        while !is_over() {
            assert!(Instant::now() < deadline, "it runs on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_no_fault_of_the_plugin() {
        let stand = Stand::new("");
        fs::remove_file(&stand.folder.path().join("worker")).unwrap();
        let error = stand.asked(&CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.class(), Class::Local);
    }
}
