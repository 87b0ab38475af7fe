//! Tests the image on a real cluster: Helm installs it, kubelet runs it, and the injected sidecars run. It uses the
//! cluster of `KUBECONFIG`, which must have the images `IMAGE` and `APP_IMAGE` (a busybox). `tests/node/run.sh` starts
//! its own cluster.
//!
//! There is one test from install to uninstall, because each step depends on those before it.
#![allow(dead_code, reason = "the support module serves several test programs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod load;

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::cluster::Cluster;
use support::credentials::Credentials;
use support::process::Process;
use support::{binaries, wait};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const NAME: &str = "sidecar-injector";
const APPS: &str = "apps";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/sidecar-injector/deployments/sidecar-injector";

/// The cluster and the files that the steps use.
struct Bed {
    runtime: Runtime,
    cluster: Cluster,
    kubeconfig: PathBuf,
    helm: PathBuf,
    values: PathBuf,
    folder: TempDir,
}

#[test]
fn the_image_works_on_a_node() {
    let bed = Bed::new();
    bed.cluster.create_namespace(APPS);
    bed.helm(&["install", NAME, "charts/sidecar-injector", "--create-namespace", "--wait", "--timeout=10m"]);
    bed.helm(&["test", NAME]);
    bed.healthy();
    bed.injected("installed");
    bed.deployment_runs_with_its_sidecar();
    bed.job_completes();

    let counts = load::during(&bed, "a rolling restart", |bed| {
        bed.cluster
            .patch(DEPLOYMENT, &json!({"spec": {"template": {"metadata": {"annotations": {"restarted": "1"}}}}}))
            .unwrap();
        bed.rolled_out();
    });
    assert_eq!(counts.missed, 0, "{counts:?}");
    let counts = load::during(&bed, "an upgrade with other values", |bed| {
        bed.upgrade(&["--set", "settings.logLevel=debug,replicaCount=3,policy.enabled=true"]);
    });
    assert_eq!(counts.missed, 0, "{counts:?}");
    bed.helm(&["rollback", NAME, "1", "--wait", "--timeout=10m"]);
    bed.injected("rolled back");

    bed.cert_manager();
    bed.helm(&["rollback", NAME, "1", "--wait", "--timeout=10m"]);
    bed.injected("self-managed again");
    bed.healthy();
    bed.existing_secret();

    bed.helm_without_values(&["uninstall", NAME, "--wait"]);
    bed.nothing_is_left();
    bed.helm(&["install", NAME, "charts/sidecar-injector", "--wait", "--timeout=10m"]);
    bed.injected("installed again");
    bed.helm_without_values(&["uninstall", NAME, "--wait"]);
    bed.nothing_is_left();
}

impl Bed {
    fn new() -> Self {
        let path = env::var("KUBECONFIG").expect("KUBECONFIG names a cluster; tests/node/run.sh makes one");
        let kubeconfig = fs::read_to_string(&path).expect("read the kubeconfig");
        let runtime = Runtime::new().unwrap();
        let cluster = Cluster::connect(runtime.handle().clone(), &kubeconfig).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let image = env::var("IMAGE").unwrap_or_else(|_| "test.local/sidecar-injector:e2e".to_owned());
        let (repository, tag) = image.rsplit_once(':').expect("IMAGE is NAME:TAG");
        let script = "trap exit TERM; touch /logs/app.log; tail -f /logs/app.log & wait";
        let template = json!({
            "appContainers": [{"volumeMounts": [{"name": "logs", "mountPath": "/logs"}]}],
            "sidecars": [{
                "name": "logger", "image": app_image(), "command": ["/bin/busybox", "sh", "-c", script],
                "volumeMounts": [{"name": "logs", "mountPath": "/logs"}],
                "startupProbe": {"exec": {"command": ["/bin/busybox", "test", "-f", "/logs/app.log"]}, "periodSeconds": 1},
            }],
            "volumes": [{"name": "logs", "emptyDir": {}}],
        });
        let values = json!({"image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}, "templates": {"logger": template.to_string()}});
        let file = folder.path().join("values.yaml");
        fs::write(&file, values.to_string()).unwrap();
        Self { runtime, cluster, kubeconfig: path.into(), helm: binaries::helm(4).expect("helm"), values: file, folder }
    }

    /// Runs Helm on the release, with the values of the test if the command accepts values.
    fn helm(&self, arguments: &[&str]) {
        let values = self.values.to_str().unwrap();
        let takes_values = ["install", "upgrade"].contains(&arguments[0]);
        let more: &[&str] = if takes_values { &["--values", values] } else { &[] };
        self.helm_without_values(&[arguments, more].concat());
    }

    fn helm_without_values(&self, arguments: &[&str]) {
        println!("helm {}", arguments.join(" "));
        let arguments = [arguments, &["--namespace", NAME]].concat();
        let outcome = support::helm::run(&self.helm, &self.kubeconfig, self.folder.path(), &arguments);
        outcome.unwrap_or_else(|why| panic!("helm {arguments:?}: {why}"));
    }

    fn upgrade(&self, more: &[&str]) {
        self.helm(&[&["upgrade", NAME, "charts/sidecar-injector", "--wait", "--timeout=10m"][..], more].concat());
    }

    /// Asserts that `doctor` finds no problem in the installation.
    fn healthy(&self) {
        let doctor = Command::new(env!("CARGO_BIN_EXE_sidecar-injector"))
            .args(["doctor", "--canary", "--namespace", APPS])
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .expect("run doctor");
        let output = String::from_utf8_lossy(&doctor.stdout).into_owned() + &String::from_utf8_lossy(&doctor.stderr);
        println!("{output}");
        let wrong = output.lines().find(|line| !line.starts_with("ok ") && !line.is_empty());
        assert!(
            doctor.status.success() && wrong.is_none() && output.contains("has the permissions that its flags need"),
            "{wrong:?}"
        );
    }

    /// Creates a pod that requests the sidecar, as a dry run. Returns true if the pod has the sidecar.
    fn try_pod(&self) -> Result<bool, String> {
        let pod = json!({"metadata": {"generateName": "x-", "annotations": {"sidecar.io/inject": "logger"}}, "spec": pod_spec("sleep 1")});
        let created = self.cluster.create(&format!("/api/v1/namespaces/{APPS}/pods?dryRun=All"), &pod);
        let created = created.map_err(|error| error.to_string())?;
        Ok(created["spec"]["initContainers"][0]["name"] == "logger")
    }

    fn injected(&self, when: &str) {
        let ((), took) = wait::until("pods to be injected", || match self.try_pod() {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        println!("{when}: injected after {took:?}");
    }

    /// Waits until every replica runs the newest revision and no other replicas are left.
    fn rolled_out(&self) {
        wait::until("the rollout to end", || {
            let found = self.cluster.get(DEPLOYMENT).map_err(|error| error.to_string())?;
            let (status, wanted) = (&found["status"], &found["spec"]["replicas"]);
            let current = status["observedGeneration"] == found["metadata"]["generation"];
            let all = ["replicas", "updatedReplicas", "readyReplicas"].iter().all(|count| status[*count] == *wanted);
            if current && all && status["terminatingReplicas"].as_i64().unwrap_or(0) == 0 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
    }

    fn deployment_runs_with_its_sidecar(&self) {
        let labels = json!({"app": "web"});
        let pod = json!({"metadata": {"labels": labels, "annotations": {"sidecar.io/inject": "logger"}}, "spec": pod_spec("while :; do echo hello from the app >> /logs/app.log; sleep 1; done")});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}});
        self.cluster.create(&format!("/apis/apps/v1/namespaces/{APPS}/deployments"), &deployment).unwrap();
        let (name, took) = wait::until("the Deployment to be available", || {
            let found = self
                .cluster
                .get(&format!("/api/v1/namespaces/{APPS}/pods?labelSelector=app%3Dweb"))
                .map_err(|r| r.to_string())?;
            let pod = &found["items"][0];
            let sidecar = &pod["status"]["initContainerStatuses"][0];
            let runs =
                sidecar["name"] == "logger" && sidecar["started"] == true && sidecar["state"]["running"].is_object();
            let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
            if runs && ready {
                Ok(pod["metadata"]["name"].as_str().unwrap().to_owned())
            } else {
                Err(pod["status"].to_string())
            }
        });
        println!("Deployment available after {took:?}");
        wait::until("the sidecar to read what the application writes", || {
            let path = format!("/api/v1/namespaces/{APPS}/pods/{name}/log?container=logger");
            let log = self.cluster.text(&path).map_err(|error| error.to_string())?;
            if log.contains("hello from the app") { Ok(()) } else { Err(log) }
        });
        self.cluster.delete(&format!("/apis/apps/v1/namespaces/{APPS}/deployments/web")).unwrap();
    }

    fn job_completes(&self) {
        let mut spec = pod_spec("echo done >> /logs/app.log");
        spec["restartPolicy"] = "Never".into();
        let pod = json!({"metadata": {"annotations": {"sidecar.io/inject": "logger"}}, "spec": spec});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": pod, "backoffLimit": 0}});
        self.cluster.create(&format!("/apis/batch/v1/namespaces/{APPS}/jobs"), &job).unwrap();
        let ((), took) = wait::until("the Job to complete beside its sidecar", || {
            let found =
                self.cluster.get(&format!("/apis/batch/v1/namespaces/{APPS}/jobs/once")).map_err(|r| r.to_string())?;
            if found["status"]["succeeded"] == 1 { Ok(()) } else { Err(found["status"].to_string()) }
        });
        println!("Job completed after {took:?}");
    }

    /// The controllers of cert-manager issue the certificate, write the CA bundle, and renew both.
    fn cert_manager(&self) {
        let (binary, definitions) = binaries::cert_manager().expect("cert-manager");
        let text = fs::read_to_string(definitions).unwrap();
        for (lines, text) in sidecar_injector::manifest::template_files::split(&text) {
            let definition =
                sidecar_injector::manifest::template_files::manifest("crds.yaml", lines, text).expect("YAML");
            if definition.is_object() {
                self.cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).unwrap();
            }
        }
        wait::until("cert-manager's kinds", || {
            self.cluster.get("/apis/cert-manager.io/v1/certificates").map_err(|error| error.to_string())
        });
        let log = self.folder.path().join("cert-manager.log");
        let _controllers = Process::spawn(&binary, &log, |command| {
            command.env("KUBECONFIG", &self.kubeconfig);
        })
        .expect("start cert-manager");
        let counts =
            load::during(self, "the change to cert-manager", |bed| bed.upgrade(&["--set", "tls.mode=cert-manager"]));
        println!("missed while the authority changed: {} of {}", counts.missed, counts.created);
        self.rolled_out();
        let first = self.trusted();
        self.injected("cert-manager");
        self.healthy();
        let secret = format!("/api/v1/namespaces/{NAME}/secrets/{NAME}-cert");
        self.cluster.delete(&secret).unwrap();
        let ((), took) = wait::until("another certificate to be issued and trusted", || match self.trusted() {
            again if again != first => Ok(()),
            _ => Err("the first one".to_owned()),
        });
        println!("issued again after {took:?}");
        // Kubelet writes a changed Secret into a pod within a minute or two. Until then, the webhook serves a
        // certificate of the old authority.
        self.injected_within_minutes();
    }

    /// Changes to a certificate from an existing Secret, and back.
    fn existing_secret(&self) {
        let credentials = Credentials::for_names(&["sidecar-injector.sidecar-injector.svc"]).unwrap();
        let data = json!({"tls.crt": credentials.certificate, "tls.key": credentials.key.serialize_pem()});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own-tls"}, "stringData": data});
        self.cluster.create(&format!("/api/v1/namespaces/{NAME}/secrets"), &secret).unwrap();
        let authority = self.folder.path().join("authority.pem");
        fs::write(&authority, credentials.authority).unwrap();
        let bundle = format!("tls.caBundle={}", authority.display());
        // The webhook owns the field that Helm sets now, so conflicts are forced.
        let mode = "tls.mode=existingSecret,tls.existingSecret=own-tls";
        self.upgrade(&["--set", mode, "--set-file", &bundle, "--force-conflicts"]);
        self.injected("certificate of an existing Secret");
        self.rolled_out();
        self.healthy();
        self.helm(&["rollback", NAME, "1", "--wait", "--timeout=10m"]);
        self.injected("self-managed after a rollback");
        self.rolled_out();
        self.healthy();
    }

    fn injected_within_minutes(&self) {
        for _ in 0..3 {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.injected("issued again"))).is_ok() {
                return;
            }
        }
        panic!("no pod was injected for three minutes");
    }

    /// Waits until the webhook configuration trusts the authority in the Secret of cert-manager. Returns the authority
    /// (PEM). The CA injector of cert-manager can keep earlier authorities in the bundle.
    fn trusted(&self) -> String {
        let secret = format!("/api/v1/namespaces/{NAME}/secrets/{NAME}-cert");
        let text = |value: &Value| {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim().to_owned()
        };
        wait::until("the authority to be trusted", || {
            let found = self.cluster.get(&secret).map_err(|error| error.to_string())?;
            let authority = text(&found["data"]["ca.crt"]);
            let path = format!("{HOOKS}/mutatingwebhookconfigurations/{NAME}");
            let hooks = self.cluster.get(&path).map_err(|error| error.to_string())?;
            let bundle = text(&hooks["webhooks"][0]["clientConfig"]["caBundle"]);
            if !authority.is_empty() && bundle.contains(&authority) {
                Ok(authority)
            } else {
                Err("another bundle".to_owned())
            }
        })
        .0
    }

    fn nothing_is_left(&self) {
        for path in [
            format!("{HOOKS}/mutatingwebhookconfigurations"),
            format!("{HOOKS}/validatingwebhookconfigurations"),
            format!("{HOOKS}/validatingadmissionpolicies"),
            format!("/apis/apps/v1/namespaces/{NAME}/deployments"),
            format!("/api/v1/namespaces/{NAME}/services"),
            format!("/api/v1/namespaces/{NAME}/serviceaccounts"),
            format!("/api/v1/namespaces/{NAME}/configmaps"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned(),
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles".to_owned(),
        ] {
            let list = self.cluster.get(&path).unwrap();
            let names = list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str());
            let ours: Vec<&str> = names.filter(|name| name.contains(NAME)).collect();
            assert!(ours.is_empty(), "{path}: {ours:?}");
        }
    }
}

fn app_image() -> String {
    env::var("APP_IMAGE").unwrap_or_else(|_| "test.local/pause:1".to_owned())
}

fn pod_spec(script: &str) -> Value {
    json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": app_image(), "command": ["/bin/busybox", "sh", "-c", script]}]})
}
