// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// kubelets play the kubelet of every node: pods run and become ready, and end some time after they were told to. On a
// node that is not ready nothing happens to a pod, except that it is not ready any more, which is what the controller of
// node lifecycles says in a real cluster.
type kubelets struct {
	client    kubernetes.Interface
	begun     map[types.UID]time.Time // when a pod was first seen on a node that is ready
	toldToEnd map[types.UID]time.Time
}

func newKubelets(client kubernetes.Interface) *kubelets {
	return &kubelets{client: client, begun: map[types.UID]time.Time{}, toldToEnd: map[types.UID]time.Time{}}
}

func (k *kubelets) look(ctx context.Context, nodes map[string]*corev1.Node, pods []*corev1.Pod, now time.Time) {
	there := make(map[types.UID]bool, len(pods))
	for _, pod := range pods {
		there[pod.UID] = true
		node, found := nodes[pod.Spec.NodeName]
		if !found {
			continue
		}
		switch {
		case !nodeIsReady(node):
			delete(k.begun, pod.UID)
			if isReady(pod.Status.Conditions) {
				k.say(ctx, pod, pod.Status.Phase, false, "NodeNotReady", now)
			}
		case pod.DeletionTimestamp != nil:
			k.end(ctx, pod, now)
		default:
			k.run(ctx, pod, now)
		}
	}
	for _, times := range []map[types.UID]time.Time{k.begun, k.toldToEnd} {
		for uid := range times {
			if !there[uid] {
				delete(times, uid)
			}
		}
	}
}

func (k *kubelets) run(ctx context.Context, pod *corev1.Pod, now time.Time) {
	begin, found := k.begun[pod.UID]
	if !found {
		begin = now
		k.begun[pod.UID] = begin
	}
	phase := phaseOf(pod)
	if phase == corev1.PodPending {
		return
	}
	ready := phase == corev1.PodRunning && wantsToBeReady(pod) && now.Sub(begin) >= duration(pod, readyAfter)
	if pod.Status.Phase == phase && isReady(pod.Status.Conditions) == ready {
		return
	}
	k.say(ctx, pod, phase, ready, "", now)
}

// end removes a pod when its process is done, or its grace is over. A second deletion may have made the grace shorter.
func (k *kubelets) end(ctx context.Context, pod *corev1.Pod, now time.Time) {
	told, found := k.toldToEnd[pod.UID]
	if !found {
		told = now
		k.toldToEnd[pod.UID] = told
	}
	wait := duration(pod, stopsAfter)
	if grace := pod.DeletionGracePeriodSeconds; grace != nil && wait > time.Duration(*grace)*time.Second {
		wait = time.Duration(*grace) * time.Second
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		wait = 0
	}
	if now.Sub(told) < wait {
		return
	}
	if grace := pod.DeletionGracePeriodSeconds; grace != nil && *grace == 0 {
		return // only its finalizers keep it
	}
	immediately := int64(0)
	options := metav1.DeleteOptions{
		GracePeriodSeconds: &immediately,
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	}
	if err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options); err != nil {
		klog.V(2).Infof("delete %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

func (k *kubelets) say(
	ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, ready bool, reason string, now time.Time,
) {
	changed := pod.DeepCopy()
	status := &changed.Status
	status.Phase = phase
	if status.StartTime == nil {
		status.StartTime = &metav1.Time{Time: now}
	}
	set := func(kind corev1.PodConditionType, holds bool) {
		condition := corev1.PodCondition{
			Type: kind, Status: corev1.ConditionFalse, Reason: reason, LastTransitionTime: metav1.Time{Time: now},
		}
		if holds {
			condition.Status = corev1.ConditionTrue
		}
		for i := range status.Conditions {
			if status.Conditions[i].Type == kind {
				status.Conditions[i] = condition
				return
			}
		}
		status.Conditions = append(status.Conditions, condition)
	}
	set(corev1.PodScheduled, true)
	set(corev1.PodInitialized, true)
	set(corev1.ContainersReady, ready)
	set(corev1.PodReady, ready)
	if _, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{}); err != nil {
		klog.V(2).Infof("status of %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}
