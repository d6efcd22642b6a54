// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// apiServer is kube-apiserver, ready to run, and how its own parts talk to it.
type apiServer struct {
	run    func(context.Context) error
	client *rest.Config
}

func newAPIServer(ctx context.Context, directory string, port int, etcd string) (*apiServer, error) {
	chosen := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range chosen.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	arguments, err := arguments(directory, port, etcd)
	if err != nil {
		return nil, err
	}
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	// A token that was accepted would be for ten seconds more, after its end.
	chosen.Authentication.TokenSuccessCacheTTL = 0
	if err := chosen.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	completed, err := chosen.Complete(ctx)
	if err != nil {
		return nil, err
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return nil, utilerrors.NewAggregate(errs)
	}
	config, err := app.NewConfig(completed)
	if err != nil {
		return nil, err
	}
	whole, err := config.Complete()
	if err != nil {
		return nil, err
	}
	chain, err := app.CreateServerChain(whole)
	if err != nil {
		return nil, err
	}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return nil, err
	}
	return &apiServer{run: prepared.Run, client: whole.KubeAPIs.ControlPlane.Generic.LoopbackClientConfig}, nil
}

func arguments(directory string, port int, etcd string) ([]string, error) {
	key, err := signingKey(directory)
	if err != nil {
		return nil, err
	}
	return []string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--cert-dir=" + filepath.Join(directory, "certificates"),
		"--token-auth-file=" + filepath.Join(directory, "tokens.csv"),
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://127.0.0.1",
		"--service-account-key-file=" + key,
		"--service-account-signing-key-file=" + key,
		// No controller makes a service account for each namespace here, and none takes the taint off a new node.
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
		"--endpoint-reconciler-type=none",
		"--enable-priority-and-fairness=false",
		"--profiling=false",
		"--audit-policy-file=" + filepath.Join(directory, "audit-policy.yaml"),
		"--audit-log-path=" + filepath.Join(directory, "audit.log"),
		"--audit-log-mode=blocking",
		"--allow-privileged=true",
		// A controller that finds its own cache behind tries again later and later: seconds, on a machine that is busy.
		"--feature-gates=StaleControllerConsistencyReplicaSet=false,StaleControllerConsistencyStatefulSet=false",
	}, nil
}

// signingKey is the file with the key that signs the tokens of service accounts, made at the first start.
func signingKey(directory string) (string, error) {
	path := filepath.Join(directory, "service-accounts.key")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), 0o600)
}
