// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/disruption"
	"k8s.io/kubernetes/pkg/controller/podgc"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

const (
	workers             = 2
	terminatedPods      = 12500 // how many pods that have ended may lie around
	replicasAtOnce      = replicaset.BurstReplicas
	statefulSetsAtATime = 1
)

// startControllers runs those of kube-controller-manager's controllers that a drain has to do with.
func startControllers(ctx context.Context, config *rest.Config, shared informers.SharedInformerFactory) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	scales, err := scale.NewForConfig(
		config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(client.Discovery()),
	)
	if err != nil {
		return err
	}
	core, apps := shared.Core().V1(), shared.Apps().V1()
	budgets := disruption.NewDisruptionController(
		ctx, core.Pods(), shared.Policy().V1().PodDisruptionBudgets(), core.ReplicationControllers(),
		apps.ReplicaSets(), apps.Deployments(), apps.StatefulSets(), client, mapper, scales, client.Discovery(),
	)
	replicas := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), core.Pods(), client, replicasAtOnce)
	deployments, err := deployment.NewDeploymentController(
		ctx, apps.Deployments(), apps.ReplicaSets(), core.Pods(), client,
	)
	if err != nil {
		return err
	}
	sets := statefulset.NewStatefulSetController(
		ctx, core.Pods(), apps.StatefulSets(), core.PersistentVolumeClaims(), apps.ControllerRevisions(), client,
	)
	garbage := podgc.NewPodGC(ctx, client, core.Pods(), core.Nodes(), terminatedPods)
	go budgets.Run(ctx)
	go replicas.Run(ctx, workers)
	go deployments.Run(ctx, workers)
	go sets.Run(ctx, statefulSetsAtATime)
	go garbage.Run(ctx)
	return nil
}
