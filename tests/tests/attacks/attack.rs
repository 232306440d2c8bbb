//! One attack: a project whose pipeline runs the attacker, pinned and with the
//! grants that a careless user might have given.

use std::path::PathBuf;

use airgap_tests::digest::sha256;
use airgap_tests::project::{self, Project, Run};
use serde_json::{Map, Value, json};

use crate::arena::Arena;

/// What no plugin was handed.
pub(crate) const SECRET: &str = "correct horse battery staple";

pub(crate) struct Attack {
    project: Project,
    steps: Vec<Value>,
    pins: Map<String, Value>,
    settings: Map<String, Value>,
}

impl Attack {
    /// A step `attack` after `config` that does `acts`.
    pub(crate) fn new(_: &Arena, acts: Value) -> Self {
        Self::before(Project::new(), &["config"], acts)
    }

    /// The same in a project with something to protect, and after the steps
    /// `needs`.
    pub(crate) fn on(_: &Arena, project: Project, needs: &[&str], acts: Value) -> Self {
        Self::before(project, needs, acts)
    }

    fn before(project: Project, needs: &[&str], acts: Value) -> Self {
        let settings = json!({
            "memory_mib": 64, "time_limit": 20, "output_mib": 8, "output_files": 200, "console_kib": 64,
        });
        let mut attack = Self {
            project,
            steps: vec![json!({ "id": "config", "name": "c", "run": { "host": "config" }, "on_failure": "roll-back" })],
            pins: Map::new(),
            settings: settings.as_object().expect("an object").clone(),
        };
        if needs != ["config"] {
            attack = attack.step("manifests", &json!({ "plugin": "manifest" }), &["config"]);
        }
        attack.pin("attacker", &json!({}), &guest()).step("attack", &json!({ "plugin": "attacker" }), needs).acts(acts)
    }

    /// Pins these bytes as `name`.
    pub(crate) fn pin(mut self, name: &str, grants: &Value, component: &[u8]) -> Self {
        let path = format!("plugins/{name}.wasm");
        self.project.write(&path, component);
        self.pins.insert(name.to_owned(), json!({ "path": path, "sha256": sha256(component), "grants": grants }));
        self
    }

    /// Pins the attacker in the place of a core plugin, as the user allowed.
    pub(crate) fn replacing(mut self, core: &str, grants: &Value) -> Self {
        self = self.pin(core, grants, &guest());
        self.pins[core]["replace_core"] = json!(true);
        self
    }

    /// What the attacker is granted.
    pub(crate) fn grants(mut self, grants: Value) -> Self {
        self.pins["attacker"]["grants"] = grants;
        self
    }

    /// A limit in `plugins` of settings.yaml.
    pub(crate) fn limit(mut self, name: &str, value: u64) -> Self {
        self.settings.insert(name.to_owned(), json!(value));
        self
    }

    /// One step more; a repeated id replaces the step.
    pub(crate) fn step(mut self, id: &str, run: &Value, needs: &[&str]) -> Self {
        self.steps.retain(|step| step["id"] != id);
        self.steps.push(json!({ "id": id, "name": id, "run": run, "needs": needs, "on_failure": "roll-back" }));
        self
    }

    /// What the last step does.
    pub(crate) fn acts(self, acts: Value) -> Self {
        self.last("configuration", json!({ "acts": acts }))
    }

    /// A key of the last step.
    pub(crate) fn last(mut self, key: &str, value: Value) -> Self {
        self.steps.last_mut().expect("there is a step")[key] = value;
        self
    }

    /// An accomplice after the steps `needs` reads whatever it is handed.
    pub(crate) fn spied_by(self, needs: &[&str]) -> Self {
        let grants = json!({});
        self.pin("accomplice", &grants, &guest())
            .step("spy", &json!({ "plugin": "accomplice" }), needs)
            .acts(json!([{ "do": "spy" }]))
    }

    /// Writes the configuration.
    pub(crate) fn ready(self) -> Ready {
        let Self { project, steps, pins, settings } = self;
        project.write("config/pipeline.yaml", ascii(&json!({ "steps": steps }).to_string()));
        project.write("config/plugins.lock", json!({ "format": 1, "plugins": pins }).to_string());
        let project = project.with_settings(|all| all["plugins"] = Value::Object(settings));
        Ready { project }
    }

    pub(crate) fn build(self) -> Built {
        self.ready().build(&[])
    }
}

/// JSON as YAML takes it: what is invisible is refused in a configuration, and
/// comes through its escapes.
fn ascii(json: &str) -> String {
    let escaped = |c: char| match u32::from(c) {
        code @ 0x7f..=0xffff => format!("\\u{code:04x}"),
        code @ 0x10000.. => format!("\\U{code:08x}"),
        _ => c.to_string(),
    };
    json.chars().map(escaped).collect()
}

/// Everything is written; nothing has run.
pub(crate) struct Ready {
    pub(crate) project: Project,
}

impl Ready {
    pub(crate) fn build(self, flags: &[&str]) -> Built {
        let run = self.project.run(&[&["build"][..], flags].concat());
        Built { project: self.project, run }
    }
}

/// How it ended.
pub(crate) struct Built {
    pub(crate) project: Project,
    pub(crate) run: Run,
}

impl Built {
    /// The host ended the step, and said why in these words.
    #[track_caller]
    pub(crate) fn refused(self, says: &[&str]) -> Self {
        let code = self.run.status.code();
        assert!(matches!(code, Some(1 | 3)), "a refusal is expected of\n{}", self.run);
        self.run.clone().says(says).never_says("\u{1b}").never_says("panicked at host/");
        assert!(!self.project.exists("build/steps/attack"), "a refused step left its output:\n{}", self.run);
        self
    }

    /// Every act in `try` was refused, and the build went on.
    #[track_caller]
    pub(crate) fn all_refused(self, count: usize) -> Self {
        let told = self.told();
        let refused = told.lines().filter(|line| line.starts_with("refused: ")).count();
        assert_eq!(refused, count, "{count} refusals are expected of\n{}\ntold:\n{told}", self.run);
        self
    }

    /// The build is done: what was tried was of no use, or no attack at all.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.run.clone().success();
        self
    }

    /// What the attacker found out.
    #[track_caller]
    pub(crate) fn told(&self) -> String {
        self.said_by("attack")
    }

    /// What a step found out; nothing where it never got so far.
    pub(crate) fn said_by(&self, step: &str) -> String {
        std::fs::read_to_string(self.project.path(&format!("build/steps/{step}/told.txt"))).unwrap_or_default()
    }

    /// Nothing of what was told contains a secret.
    #[track_caller]
    pub(crate) fn keeps(self, secret: &str) -> Self {
        for step in ["attack", "spy"] {
            let told = self.said_by(step);
            assert!(!told.contains(secret), "`{secret}` got out of\n{}\n{step} told:\n{told}", self.run);
        }
        assert!(!self.run.stderr.contains(secret) && !self.run.stdout.contains(secret), "{}", self.run);
        self
    }
}

/// The attacker's component.
///
/// # Panics
/// When it was not built.
pub(crate) fn guest() -> Vec<u8> {
    let folder: PathBuf = project::target_folder().parent().expect("target/ has profiles").join("test-guests");
    let path = folder.join("attacker.wasm");
    std::fs::read(&path).unwrap_or_else(|err| panic!("{}: {err} (`make plugins` builds it)", path.display()))
}
