include $(sort $(wildcard $(BR2_EXTERNAL_SIDETONE_PATH)/package/*/*.mk))
