// SPDX-License-Identifier: GPL-3.0-or-later

// A Kubernetes cluster in one process, for tests: etcd, kube-apiserver and the controllers that a drain meets are the
// real ones; a scheduler and kubelets of a few lines let pods do what a test orders.
//
// Usage: cluster DIRECTORY PORT. What it keeps is in the directory; started there again it goes on with it.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

const looksEvery = 50 * time.Millisecond

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: cluster DIRECTORY PORT")
		os.Exit(2)
	}
	port, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = run(context.Background(), os.Args[1], port)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// run returns only when something went wrong. Whoever wants to end the process kills it.
func run(ctx context.Context, directory string, port int) error {
	etcd, err := startEtcd(directory)
	if err != nil {
		return err
	}
	server, err := newAPIServer(ctx, directory, port, etcd)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- server.run(ctx) }()
	go func() { failed <- play(ctx, server.client) }()
	return <-failed
}

// play runs the controllers, and plays the scheduler and the kubelets.
func play(ctx context.Context, config *rest.Config) error {
	config = rest.CopyConfig(config)
	config.QPS = -1 // no limit of our own: a thousand pods are to be there at once
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() != nil {
		time.Sleep(looksEvery)
	}
	shared := informers.NewSharedInformerFactory(client, 0)
	pods, nodes := shared.Core().V1().Pods(), shared.Core().V1().Nodes()
	podsSynced, nodesSynced := pods.Informer().HasSynced, nodes.Informer().HasSynced
	if err := startControllers(ctx, config, shared); err != nil {
		return err
	}
	shared.Start(ctx.Done())
	kubelets := newKubelets(client)
	for now := range time.Tick(looksEvery) {
		if !podsSynced() || !nodesSynced() {
			continue
		}
		allPods, err := pods.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		allNodes, err := nodes.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		byName := make(map[string]*corev1.Node, len(allNodes))
		for _, node := range allNodes {
			byName[node.Name] = node
		}
		schedule(ctx, client, byName, allPods)
		kubelets.look(ctx, byName, allPods, now)
	}
	klog.Info("the clock ended")
	return nil
}
