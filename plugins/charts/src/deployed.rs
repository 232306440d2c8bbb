//! What a definition makes of its charts: under which name each is released, where,
//! and with which values, as Zarf would deploy it.
//!
//! Charts of components.yaml are rendered as their rows say ([`bundle`]). One that a
//! definition deploys says more: its own name of the release, and several values
//! files; it may be deployed twice, or lie in the project as an archive. Values that
//! are fetched from a URL are not there when charts are rendered: that is told.

use chart_loader::Refusal;
use image_finder::Node;
use model::definition::Composed;
use model::definition::path::{is_url, of_project};
use model::definition::sources::{chart, same_chart};
use model::rendered::{ChartToRender, Searched};
use model::zarf::{self, alpha};
use model::{Chart, ChartEntry};
use sdk::StepError;

use crate::bundle::{ARCHIVE_LIMIT, file_name, values_file};
use crate::host::Host;
use crate::images;

/// The rows of charts and what the search finds in them, to be completed.
pub struct Rows<'a> {
    /// As components.yaml and the definition name them.
    pub charts: &'a [Chart],
    /// In the same order.
    pub entries: &'a [ChartEntry],
    /// One for each entry, and what is added.
    pub to_render: Vec<ChartToRender>,
    /// The same.
    pub searched: Vec<Searched>,
}

/// Goes through the charts of a definition.
///
/// # Errors
/// `invalid-input` for an archive that is no chart, or values that are none.
pub fn complete(host: &dyn Host, composed: &Composed, rows: &mut Rows<'_>) -> Result<(), StepError> {
    let mut is_used = vec![false; rows.entries.len()];
    let total: usize = composed.definition.components.iter().map(|component| component.charts.len()).sum();
    let mut number = 0;
    for component in &composed.definition.components {
        for written in &component.charts {
            host.progress(number as u64, total as u64, &written.name)?;
            let one = Deployed { host, composed, written, component: &component.name, number };
            number += 1;
            match one.entry(rows) {
                Some(at) => one.of_entry(at, std::mem::replace(&mut is_used[at], true), rows)?,
                None if !written.local_path.is_empty() => one.packed(rows)?,
                None => {}
            }
        }
    }
    Ok(())
}

struct Deployed<'a> {
    host: &'a dyn Host,
    composed: &'a Composed,
    written: &'a alpha::Chart,
    component: &'a str,
    /// Of all that are deployed: two may be called alike.
    number: usize,
}

impl Deployed<'_> {
    /// The row of the chart that it deploys.
    fn entry(&self, rows: &Rows<'_>) -> Option<usize> {
        let (repo, name, version) = chart(self.composed.folder(), self.written).ok()??;
        let is_it = |known: &Chart| same_chart((&known.repo, &known.name, &known.version), (&repo, &name, &version));
        rows.charts.iter().position(is_it)
    }

    fn of_entry(&self, at: usize, is_again: bool, rows: &mut Rows<'_>) -> Result<(), StepError> {
        let entry = &rows.entries[at];
        let row = self.row(&entry.name, &entry.version, &entry.path, self.values()?);
        if !is_again {
            rows.to_render[at] = row;
            return Ok(());
        }
        let name = format!("{}/{}", self.component, self.written.name);
        let searched = Searched { name: name.clone(), ..rows.searched[at].clone() };
        rows.to_render.push(ChartToRender { name, ..row });
        rows.searched.push(searched);
        Ok(())
    }

    /// An archive of the project.
    fn packed(&self, rows: &mut Rows<'_>) -> Result<(), StepError> {
        let path = &self.written.local_path;
        let refuse = |why: String| StepError::invalid_input("bad-chart", format!("the packed chart `{path}` {why}"));
        let refused = |Refusal { why, hint }| refuse(format!("is none: {why}")).hint(hint);
        let place =
            of_project(self.composed.folder(), path).map_err(|(why, hint)| refuse(why.to_owned()).hint(hint))?;
        let tree = self.host.local(&place).ok_or_else(|| refuse("is not there".to_owned()))?;
        let name = file_name(&*tree, &place).map_err(|why| refuse(format!("cannot be read: {why}")))?;
        let name = name.ok_or_else(|| refuse("is not a file".to_owned()))?;
        let bytes = tree.read(&name, ARCHIVE_LIMIT).map_err(|why| refuse(format!("cannot be read: {why}")))?;
        let about = chart_loader::load(&*bytes).map_err(refused)?;
        let values = self.values()?;
        let nodes: Vec<(String, Node)> = values.iter().map(|(_, file, node)| (file.clone(), node.clone())).collect();
        let (images, unknown) = images::divided(chart_loader::images::of(&about, &nodes).map_err(refused)?);
        let version = about.version().to_owned();
        // Two may be called alike.
        let is_taken = rows.searched.iter().any(|known| known.name == about.name() && known.version == version);
        let name = match is_taken {
            true => format!("{}/{}", self.component, self.written.name),
            false => about.name().to_owned(),
        };
        let packed = format!("packed/{}.tgz", rows.to_render.len());
        self.host.write(&packed, &bytes)?;
        rows.to_render.push(self.row(&name, &version, &packed, values));
        rows.searched.push(Searched { name, version, images, unknown });
        Ok(())
    }

    fn row(&self, name: &str, version: &str, path: &str, values: Vec<(String, String, Node)>) -> ChartToRender {
        let alpha::Chart { name: own, release_name, namespace, .. } = self.written;
        let release = if release_name.is_empty() { zarf::release_of(own) } else { release_name.clone() };
        ChartToRender {
            name: name.to_owned(),
            version: version.to_owned(),
            namespace: if namespace.is_empty() { release.clone() } else { namespace.clone() },
            release,
            path: path.to_owned(),
            values: values.into_iter().map(|(path, ..)| path).collect(),
        }
    }

    /// Its values files in Zarf's order: the path in the output, the path as it is
    /// written, and what it says.
    fn values(&self) -> Result<Vec<(String, String, Node)>, StepError> {
        let alpha::Chart { name, values_files, templated_values_files, .. } = self.written;
        let mut found = Vec::new();
        for (index, file) in values_files.iter().chain(templated_values_files).enumerate() {
            let untold = |why: &str| {
                self.host.warn(&format!(
                    "the chart `{name}` of the component `{}` is rendered without its values `{file}`: {why}",
                    self.component
                ));
            };
            if is_url(file) {
                untold("they are fetched beside it; add images that they change by hand");
                continue;
            }
            // What is wrong with the path is told where it is looked at.
            let Ok(place) = of_project(self.composed.folder(), file) else { continue };
            let is_templated = index >= values_files.len();
            let (bytes, node, _) = match values_file(self.host, &place) {
                Ok(read) => read,
                Err(StepError::Interrupted) => return Err(StepError::Interrupted),
                // Zarf fills it in at the deployment: it need not be YAML before.
                Err(_) if is_templated => {
                    untold("it is no YAML before it is filled in");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let path = format!("rendering/{}-{index}", self.number);
            self.host.write(&path, &bytes)?;
            found.push((path, place, node));
        }
        Ok(found)
    }
}
