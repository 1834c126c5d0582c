// Command kubecp is kube-apiserver, kube-controller-manager and kube-scheduler in one file.
//
// The three share nearly all of their code; linked together they take a third of the time and
// of the space. Which one runs is the name that it is called by (a link), or the first argument.
//
// Copyright: (c) 2026, mlplatform.kubeflow contributors
// SPDX-License-Identifier: GPL-3.0-or-later
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	_ "time/tzdata" // CronJobs name time zones, and a small machine may have no zone files

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// programs maps the name of each program to what makes its command line.
var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
}

// chosen is the program that these arguments ask for, and the arguments that it should see.
func chosen(args []string) (func() *cobra.Command, []string) {
	if program, ok := programs[filepath.Base(args[0])]; ok {
		return program, args
	}
	if len(args) > 1 {
		if program, ok := programs[args[1]]; ok {
			return program, args[1:]
		}
	}
	return nil, args
}

func main() {
	program, args := chosen(os.Args)
	if program == nil {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "usage: kubecp %s [flags]\n", strings.Join(names, "|"))
		os.Exit(2)
	}
	os.Args = args
	os.Exit(cli.Run(program()))
}
