;; More tables than an instance may have. | refused: tables
(component
  (core module $m
    (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)
    (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
