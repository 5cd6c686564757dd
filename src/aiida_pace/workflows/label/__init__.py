"""Labels: what a labelling is, and the engines that can make one."""
