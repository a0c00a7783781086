//! Whether the tracer is alive and sees what it must see.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    probe::{HookReport, HookState},
    sink::{Sink, Status},
};

/// The tracing loop tells its status once a second; after this long without, it is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// Shared by the tracing loop, which writes it, and the HTTP server, which reads it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Milliseconds after `started` of the last sign of life.
    beat: AtomicU64,
    stopping: AtomicBool,
    /// A required hook that is not attached.
    blind: Option<String>,
}

impl Health {
    /// Healthy from now on; ready when every required hook is attached.
    #[must_use]
    pub fn new(hooks: &[HookReport]) -> Self {
        let blind = hooks.iter().find_map(|hook| match &hook.state {
            HookState::Skipped { reason } if hook.required => {
                Some(format!("hook {} is not attached: {reason}", hook.name))
            }
            _ => None,
        });
        Self(Arc::new(Inner {
            started: Instant::now(),
            beat: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            blind,
        }))
    }

    /// The end has begun: not ready any more.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// The tracing loop is stuck.
    pub fn alive(&self) -> Result<(), String> {
        self.alive_at(self.0.started.elapsed())
    }

    fn alive_at(&self, now: Duration) -> Result<(), String> {
        let beat = Duration::from_millis(self.0.beat.load(Ordering::Relaxed));
        let silent = now.saturating_sub(beat);
        if silent > STUCK {
            return Err(format!(
                "the tracing loop is stuck for {} s",
                silent.as_secs()
            ));
        }
        Ok(())
    }

    /// # Errors
    /// What keeps the tracer from its work.
    pub fn ready(&self) -> Result<(), String> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        match &self.0.blind {
            Some(blind) => Err(blind.clone()),
            None => self.alive(),
        }
    }
}

impl Sink for Health {
    fn status(&mut self, _: &Status) {
        let beat = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.beat.store(beat, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Object;

    fn hook(required: bool, state: HookState) -> HookReport {
        HookReport {
            name: "destroy",
            object: Object::Tcp,
            purpose: "",
            required,
            state,
        }
    }

    #[test]
    fn ready_needs_the_required_hooks_only() {
        let skipped = HookState::Skipped {
            reason: "no BTF".to_owned(),
        };
        let health = Health::new(&[
            hook(true, HookState::Attached),
            hook(false, skipped.clone()),
        ]);
        assert_eq!(health.ready(), Ok(()));
        let blind = Health::new(&[hook(true, skipped)]);
        assert_eq!(
            blind.ready(),
            Err("hook destroy is not attached: no BTF".to_owned())
        );
        assert_eq!(blind.alive(), Ok(()));
    }

    #[test]
    fn stuck_loops_are_noticed() {
        let health = Health::new(&[]);
        assert_eq!(health.alive_at(Duration::from_secs(10)), Ok(()));
        assert!(health.alive_at(Duration::from_secs(11)).is_err());
    }

    #[test]
    fn stopping_is_not_ready() {
        let health = Health::new(&[]);
        health.stop();
        assert!(health.ready().is_err());
        assert_eq!(health.alive(), Ok(()));
    }
}
