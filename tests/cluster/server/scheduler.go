// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// schedule puts each pod without a node on the one it prefers, or on the node with the fewest pods, of those that take
// pods at all. Where there is none the pod waits, as it would in a real cluster.
func schedule(ctx context.Context, client kubernetes.Interface, nodes map[string]*corev1.Node, pods []*corev1.Pod) {
	load := map[string]int{}
	for _, pod := range pods {
		load[pod.Spec.NodeName]++
	}
	for _, pod := range pods {
		if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil {
			continue
		}
		chosen := choose(pod, nodes, load)
		if chosen == "" {
			continue
		}
		binding := &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: chosen},
		}
		if err := client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
			klog.V(2).Infof("bind %s/%s to %s: %v", pod.Namespace, pod.Name, chosen, err)
			continue
		}
		load[chosen]++
	}
}

func choose(pod *corev1.Pod, nodes map[string]*corev1.Node, load map[string]int) string {
	if node, found := nodes[pod.Annotations[preferredNode]]; found && takes(node, pod) {
		return node.Name
	}
	best := ""
	for name, node := range nodes {
		if !takes(node, pod) {
			continue
		}
		if best == "" || load[name] < load[best] || (load[name] == load[best] && name < best) {
			best = name
		}
	}
	return best
}

func takes(node *corev1.Node, pod *corev1.Pod) bool {
	if node.Spec.Unschedulable || !nodeIsReady(node) || node.DeletionTimestamp != nil {
		return false
	}
	for _, taint := range node.Spec.Taints {
		if taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute {
			return false
		}
	}
	for name, value := range pod.Spec.NodeSelector {
		if node.Labels[name] != value {
			return false
		}
	}
	return true
}
