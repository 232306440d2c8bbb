//! Actions, and the checks that v1beta1 has made actions of.

use super::{Losses, NO_FORM};
use crate::zarf::alpha::{self, HealthCheck, Wait, WaitCluster};
use crate::zarf::beta;

/// What v1alpha1 waits for where a wait names no condition.
const EXISTS: &str = "exists";

pub(super) fn to_beta(actions: &alpha::Actions, checks: &[HealthCheck], losses: &mut Losses<'_>) -> beta::Actions {
    let mut losses = losses.below("actions");
    let alpha::Actions { on_create, on_deploy, on_remove } = actions;
    let mut converted = beta::Actions {
        on_create: set_to_beta(on_create, &mut losses.below("onCreate")),
        on_deploy: set_to_beta(on_deploy, &mut losses.below("onDeploy")),
        on_remove: set_to_beta(on_remove, &mut losses.below("onRemove")),
    };
    converted.on_deploy.on_success.extend(checks.iter().map(check_to_beta));
    converted
}

pub(super) fn to_alpha(actions: &beta::Actions, losses: &mut Losses<'_>) -> alpha::Actions {
    let mut losses = losses.below("actions");
    let beta::Actions { on_create, on_deploy, on_remove } = actions;
    alpha::Actions {
        on_create: set_to_alpha(on_create, &mut losses.below("onCreate")),
        on_deploy: set_to_alpha(on_deploy, &mut losses.below("onDeploy")),
        on_remove: set_to_alpha(on_remove, &mut losses.below("onRemove")),
    }
}

fn set_to_beta(set: &alpha::ActionSet, losses: &mut Losses<'_>) -> beta::ActionSet {
    let mut list = |actions: &[alpha::Action]| -> Vec<beta::Action> {
        actions.iter().map(|action| action_to_beta(action, losses)).collect()
    };
    let alpha::ActionSet { defaults, before, after, on_success, on_failure } = set;
    let alpha::ActionDefaults { mute, max_total_seconds, max_retries, dir, env, shell } = defaults.clone();
    beta::ActionSet {
        defaults: beta::ActionDefaults { silent: mute, max_total_seconds, retries: max_retries, dir, env, shell },
        before: list(before),
        // v1alpha1 runs the first list before the second.
        on_success: [list(after), list(on_success)].concat(),
        on_failure: list(on_failure),
    }
}

fn set_to_alpha(set: &beta::ActionSet, losses: &mut Losses<'_>) -> alpha::ActionSet {
    let mut list = |actions: &[beta::Action]| -> Vec<alpha::Action> {
        actions.iter().map(|action| action_to_alpha(action, losses)).collect()
    };
    let beta::ActionSet { defaults, before, on_success, on_failure } = set;
    let beta::ActionDefaults { silent, max_total_seconds, retries, dir, env, shell } = defaults.clone();
    alpha::ActionSet {
        defaults: alpha::ActionDefaults { mute: silent, max_total_seconds, max_retries: retries, dir, env, shell },
        before: list(before),
        after: Vec::new(),
        on_success: list(on_success),
        on_failure: list(on_failure),
    }
}

fn action_to_beta(action: &alpha::Action, losses: &mut Losses<'_>) -> beta::Action {
    let alpha::Action {
        mute,
        max_total_seconds,
        max_retries,
        dir,
        env,
        cmd,
        shell,
        set_variable,
        set_variables,
        set_values,
        description,
        wait,
        template,
    } = action.clone();
    losses.add_if(!set_variable.is_empty(), "setVariable", NO_FORM);
    losses.add_if(!set_variables.is_empty(), "setVariables", NO_FORM);
    losses.add_if(set_values.iter().any(|set| set.value.is_some()), "setValues.value", NO_FORM);
    let set_value = |alpha::SetValue { key, value: _, kind }| beta::SetValue { key, kind };
    beta::Action {
        silent: mute,
        max_total_seconds,
        retries: max_retries,
        dir,
        env,
        cmd,
        shell,
        set_values: set_values.into_iter().map(set_value).collect(),
        description,
        wait: wait.map(with_condition),
        enable_templating: template == Some(true),
    }
}

fn action_to_alpha(action: &beta::Action, losses: &mut Losses<'_>) -> alpha::Action {
    let beta::Action {
        silent,
        max_total_seconds,
        retries,
        dir,
        env,
        cmd,
        shell,
        set_values,
        description,
        wait,
        enable_templating,
    } = action.clone();
    let cluster = wait.as_ref().and_then(|wait| wait.cluster.as_ref());
    let is_for_readiness = cluster.is_some_and(|cluster| cluster.condition.is_empty());
    losses.add_if(is_for_readiness, "wait.cluster", "waits until the object is ready, and in v1alpha1 until it exists");
    let set_value = |beta::SetValue { key, kind }| alpha::SetValue { key, value: None, kind };
    alpha::Action {
        mute: silent,
        max_total_seconds,
        max_retries: retries,
        dir,
        env,
        cmd,
        shell,
        set_variable: String::new(),
        set_variables: Vec::new(),
        set_values: set_values.into_iter().map(set_value).collect(),
        description,
        wait,
        template: enable_templating.then_some(true),
    }
}

fn with_condition(mut wait: Wait) -> Wait {
    if let Some(cluster) = wait.cluster.as_mut().filter(|cluster| cluster.condition.is_empty()) {
        EXISTS.clone_into(&mut cluster.condition);
    }
    wait
}

/// A wait without condition: until the object is ready.
fn check_to_beta(check: &HealthCheck) -> beta::Action {
    let HealthCheck { api_version, kind, namespace, name } = check.clone();
    let kind = match api_version.split_once('/') {
        Some((group, version)) => format!("{kind}.{version}.{group}"),
        None => kind,
    };
    let cluster = WaitCluster { kind, name, namespace, condition: String::new() };
    beta::Action { wait: Some(Wait { cluster: Some(cluster), network: None }), ..beta::Action::default() }
}
