//! The Kubernetes edge: status writes, finalizers, events, stores, Secrets and ServiceAccount tokens.
