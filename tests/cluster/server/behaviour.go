// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What a test orders by annotations of a pod; objects.py beside this module writes them and says what they mean.
const (
	stopsAfter    = "cluster.test/stops-after"
	readyAfter    = "cluster.test/ready-after"
	readyWanted   = "cluster.test/ready"
	phaseWanted   = "cluster.test/phase"
	preferredNode = "cluster.test/preferred-node"
)

func duration(pod *corev1.Pod, annotation string) time.Duration {
	seconds, err := strconv.ParseFloat(pod.Annotations[annotation], 64)
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func wantsToBeReady(pod *corev1.Pod) bool {
	return pod.Annotations[readyWanted] != "false"
}

func phaseOf(pod *corev1.Pod) corev1.PodPhase {
	if wanted := pod.Annotations[phaseWanted]; wanted != "" {
		return corev1.PodPhase(wanted)
	}
	return corev1.PodRunning
}

func isReady(conditions []corev1.PodCondition) bool {
	for _, condition := range conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func nodeIsReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
