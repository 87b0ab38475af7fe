//! The templates of the scenarios.

/// A native sidecar with its own volume, and an init container before it.
pub(crate) const FLUENT_BIT: &str = r#"
name: fluent-bit
version: "4.1"
description: Ships the application's log files.
initContainers:
- name: fluent-bit-config
  image: busybox:1.37
  command: [sh, -c, "cp /defaults/fluent-bit.yaml /fluent-bit/etc/"]
  volumeMounts:
  - {name: fluent-bit-etc, mountPath: /fluent-bit/etc}
sidecars:
- name: fluent-bit
  image: fluent/fluent-bit:4.1.0
  args: [--config=/fluent-bit/etc/fluent-bit.yaml]
  env:
  - {name: LOG_LEVEL, value: info}
  ports:
  - {name: fluent-http, containerPort: 2020}
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 64Mi}
  volumeMounts:
  - {name: fluent-bit-etc, mountPath: /fluent-bit/etc, readOnly: true}
volumes:
- name: fluent-bit-etc
  emptyDir: {}
metadata:
  labels: {logs: shipped}
"#;

/// A sidecar among the containers of the pod. It has no volume.
pub(crate) const VAULT_AGENT: &str = r"
name: vault-agent
mode: container
sidecars:
- name: vault-agent
  image: hashicorp/vault:1.20
  args: [agent, -config=/vault/agent.hcl]
imagePullSecrets:
- name: registry
";

/// A template that adds a native sidecar with the image and a volume. Scenarios use it for versions of a template.
pub(crate) fn fluent_bit_with_image(image: &str, volume: &str) -> String {
    format!(
        "name: fluent-bit\n\
         sidecars:\n\
         - name: fluent-bit\n\
         \x20 image: {image}\n\
         \x20 volumeMounts: [{{name: {volume}, mountPath: /data}}]\n\
         volumes:\n\
         - {{name: {volume}, emptyDir: {{}}}}\n"
    )
}

/// An invalid template: the list is not closed.
pub(crate) const BROKEN: &str = "sidecars: [\n- name: fluent-bit\n";
