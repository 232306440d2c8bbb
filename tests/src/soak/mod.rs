//! Kills builds at random moments, again and again, and compares what comes
//! out with an undisturbed build.
//!
//! Each project is built until it is done, however often it is killed on the
//! way. The kills are spread over the time that an undisturbed build takes.
//! Before each run the partial downloads are measured; what the run asks for
//! must start no earlier than that, less one sync interval per stream.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::images::Noise;
use crate::outcome::{Outcome, leftovers, steps};
use crate::project::{Project, target_folder};

mod site;
mod streams;

use site::Site;
pub use site::Sizes;
pub use streams::SYNC_INTERVAL;
use streams::{Resumed, partials};

/// What a soak did. What is wrong panics instead.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub kills: usize,
    pub builds: usize,
    /// How many of the kills hit each step. Several run side by side.
    pub steps: BTreeMap<String, usize>,
    pub resumed: Resumed,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(|(id, kills)| format!("{id} {kills}")).collect();
        write!(f, "{} kills in {} builds ({}), {}", self.kills, self.builds, steps.join(", "), self.resumed)
    }
}

/// A soak under way.
pub struct Soak {
    site: Site,
    noise: Noise,
    /// Where the projects lie, one after the other.
    folder: PathBuf,
    /// What every build must come to.
    wanted: Outcome,
    /// What a build takes that nobody disturbs.
    whole: Duration,
    report: Report,
}

impl Soak {
    /// Fills a real registry and builds without disturbance; None where the
    /// registry or skopeo is not installed. The last project stays in
    /// `target/soak/<name>` when the soak ends in a panic.
    pub fn start(name: &str, seed: u64, sizes: Sizes) -> Option<Self> {
        let mut soak = Self {
            site: Site::start(seed, sizes)?,
            noise: Noise::new(seed),
            folder: target_folder().parent().expect("target/ has profiles").join("soak").join(name),
            wanted: Outcome::default(),
            whole: Duration::MAX,
            report: Report::default(),
        };
        // The first one may have to compile plugins, the second one tells how
        // long a build takes.
        soak.project().run(&["build"]).success();
        let project = soak.project();
        soak.whole = project.build().time;
        soak.wanted = Outcome::of(&project);
        Some(soak)
    }

    /// Kills builds until there were `kills` kills, and finishes the last one.
    /// Tells what it does, a line for each kill.
    ///
    /// # Panics
    /// When a rerun fails or makes another package, something is left over, or
    /// a rerun asks for bytes that were safe already.
    pub fn run(mut self, kills: usize, mut tell: impl FnMut(&str)) -> Report {
        tell(&format!("a build that nobody disturbs takes {:.3} s", self.whole.as_secs_f64()));
        while self.report.kills < kills {
            self.one_build(kills, &mut tell);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        self.report
    }

    fn project(&self) -> Project {
        let project = Project::in_folder(&self.folder).expect("a folder below target/");
        let temporary = project.path("tmp");
        std::fs::create_dir(&temporary).expect("a new folder");
        let project = project.with_env("TMPDIR", temporary.display().to_string());
        self.site.configure(project.with_env("SOURCE_DATE_EPOCH", "1700000000"))
    }

    /// Builds one project to its end through as many kills as it takes.
    fn one_build(&mut self, kills: usize, tell: &mut impl FnMut(&str)) {
        let project = self.project();
        self.report.builds += 1;
        // Every other build, so that others are killed before that.
        let mut aims = !self.report.builds.is_multiple_of(2);
        while self.report.kills < kills
            && let Some(lived) = self.one_kill(&project, std::mem::take(&mut aims))
        {
            self.report.kills += 1;
            let steps = self.note_steps(&project);
            tell(&format!("build {}: killed after {:.3} s in {steps}", self.report.builds, lived.as_secs_f64()));
        }
        if self.report.kills == kills {
            self.finish(&project);
        }
        self.check(&project);
    }

    /// Starts a build and kills it: at any moment, or when it `aims` while the
    /// large streams come. None when it was done by then. Says how long it
    /// lived.
    fn one_kill(&mut self, project: &Project, aims: bool) -> Option<Duration> {
        let share = self.noise.number() as f64 / u64::MAX as f64;
        let before = partials(project);
        self.site.forget();
        let begun = Instant::now();
        let mut running = project.start(&["build"]);
        let is_due = || if aims { self.has_come(project, share) } else { begun.elapsed() >= self.whole.mul_f64(share) };
        while running.is_running() && !is_due() {
            thread::sleep(Duration::from_millis(1));
        }
        let killed = running.is_running().then(|| begun.elapsed());
        if killed.is_some() {
            running.kill();
        } else {
            running.finish().success();
        }
        self.report.resumed.add(&before, &self.site);
        killed
    }

    /// Whether a share of a large stream is there, but not all of it.
    fn has_come(&self, project: &Project, share: f64) -> bool {
        let enough = (self.site.sizes.layer as f64 * share.min(0.9)) as u64;
        partials(project).into_values().max().is_some_and(|there| there > enough)
    }

    fn finish(&mut self, project: &Project) {
        let before = partials(project);
        self.site.forget();
        project.run(&["build"]).success();
        self.report.resumed.add(&before, &self.site);
    }

    /// Counts the steps that a kill interrupted, and names them.
    fn note_steps(&mut self, project: &Project) -> String {
        let state = if project.exists("build/state.json") { project.state() } else { serde_json::Value::Null };
        let mut running = steps(&state, Some("RUNNING"));
        if running.is_empty() {
            running.push("none".to_owned());
        }
        for id in &running {
            *self.report.steps.entry(id.clone()).or_default() += 1;
        }
        running.join("+")
    }

    /// A finished build is the same as the undisturbed one, and left nothing.
    fn check(&self, project: &Project) {
        let differences = self.wanted.differences(&Outcome::of(project));
        assert!(differences.is_empty(), "not what an undisturbed build makes: {differences:#?}");
        let mut left = leftovers(project);
        left.extend(std::fs::read_dir(project.path("tmp")).into_iter().flatten().flatten().map(|entry| entry.path()));
        assert!(left.is_empty(), "left over: {left:#?}");
    }
}
