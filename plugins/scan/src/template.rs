//! Images that the templates of a chart name literally.
//!
//! A template is no YAML before Helm has rendered it, so it is read line by
//! line. What comes from values is found in the values.

use components::image::ImageName;

/// Line (from 1) and image of every `image: reference`.
pub fn images(text: &str) -> Vec<(u32, String)> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| Some((u32::try_from(at + 1).ok()?, image(line)?))).collect()
}

fn image(line: &str) -> Option<String> {
    let line = line.trim_start().trim_start_matches("- ").trim_start();
    let rest = line.strip_prefix("image:")?;
    let value = rest.strip_prefix([' ', '\t'])?.trim();
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(" #").next()?.trim(),
    };
    let literal = !value.contains("{{") && !value.contains("}}");
    (literal && !value.is_empty() && ImageName::parse(value).is_ok()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_images_only() {
        let text = "spec:\n  containers:\n  - image: busybox:1.36 # tools\n  - name: x\n    image: \"{{ .Values.image.repository }}:{{ .Values.image.tag }}\"\n{{- if .Values.hook }}\n    image: 'quay.io/a/b:1'\n{{- end }}\n    image: {{ include \"x\" . }}\n    imagePullPolicy: Always\n    image:\n";
        assert_eq!(images(text), [(3, "busybox:1.36".to_owned()), (7, "quay.io/a/b:1".to_owned())]);
    }
}
