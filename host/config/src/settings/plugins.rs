//! `plugins`: what one plugin call may take. The limits themselves are rows of a
//! [table](crate::limits).

use model::problem::{Problem, YamlPath};

use super::check::range;
use crate::limits::{PluginSettings, Row, TABLE};

impl PluginSettings {
    pub(super) fn problems(&self, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("plugins");
        for Row { limit, key, from, to, unit, .. } in TABLE {
            range(self.get(*limit), *from, *to, unit, &path.key(key), problems);
        }
    }
}
